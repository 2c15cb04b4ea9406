"""The README's commands parse and its Python runs."""

import argparse
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = dict(enumerate(re.findall(r"```(\w+)\n(.*?)```", README, re.S)))
LINES = [
    line for language, text in BLOCKS.values() if language == "sh" for line in text.replace("\\\n", " ").splitlines()
]
COMMANDS = [line for line in LINES if line.startswith("vlmprune-")]
PYTHON = [text for language, text in BLOCKS.values() if language == "python"]
MODULES = {
    "vlmprune-export": "vlmprune_export.cli.export",
    "vlmprune-check": "vlmprune_export.cli.check",
    "vlmprune-run": "vlmprune_runtime.cli.run",
    "vlmprune-inspect": "vlmprune_runtime.cli.inspect",
    "vlmprune-bench": "vlmprune_runtime.cli.bench",
    "vlmprune-report": "vlmprune_tools.cli.report",
    "vlmprune-eval": "vlmprune_tools.cli.eval",
}


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(line: str) -> None:
    name, *arguments = shlex.split(line.split(" #")[0])
    parser: argparse.ArgumentParser = import_module(MODULES[name]).parser()
    assert parser.parse_args(arguments)


def test_every_command_is_shown() -> None:
    assert {line.split()[0] for line in COMMANDS} == set(MODULES)


@pytest.mark.parametrize("code", PYTHON)
def test_python_runs(code: str) -> None:
    exec(compile(code, "README.md", "exec"), {})


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`?make ([a-z-]+)`?", README)) <= targets


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
