"""The commands in README and docs/ parse, the README's Python runs, and links lead to files."""

import argparse
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from vlmprune_runtime.schema.json_schema import json_schema

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.S)


def commands(page: str) -> list[str]:
    """Whole commands of ours: lines of shell blocks, and commands with arguments inside sentences."""
    lines = [line for text in blocks(page, "sh") for line in text.replace("\\\n", " ").splitlines()]
    inline = re.findall(r"`(vlmprune-\w+\s[^`|]+)`", re.sub(r"```.*?```", "", page, flags=re.S))
    return [*(line for line in lines if line.startswith("vlmprune-")), *(" ".join(text.split()) for text in inline)]


COMMANDS = commands(README)
IN_DOCS = [line for page in DOCS for line in commands(page.read_text(encoding="utf-8"))]
PYTHON = blocks(README, "python")
MODULES = {
    "vlmprune-export": "vlmprune_export.cli.export",
    "vlmprune-check": "vlmprune_export.cli.check",
    "vlmprune-run": "vlmprune_runtime.cli.run",
    "vlmprune-inspect": "vlmprune_runtime.cli.inspect",
    "vlmprune-bench": "vlmprune_runtime.cli.bench",
    "vlmprune-report": "vlmprune_tools.cli.report",
    "vlmprune-eval": "vlmprune_tools.cli.eval",
    "vlmprune-device": "vlmprune_tools.cli.device",
}


@pytest.mark.parametrize("line", dict.fromkeys([*COMMANDS, *IN_DOCS]))
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_linked() -> None:
    assert {f"docs/{page.name}" for page in DOCS} <= set(re.findall(r"\]\(([^)#]+)", README))


def field_names(schema: dict[str, Any]) -> Iterator[str]:
    """The names of all fields of a JSON Schema and of its definitions."""
    yield from schema.get("properties", {})
    for definition in schema.get("$defs", {}).values():
        yield from field_names(definition)


def test_the_bundles_page_names_every_field() -> None:
    page = (ROOT / "docs" / "bundle.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`]+`|```.*?```", page, re.S))))
    fields = set(field_names(json_schema()))
    assert len(fields) > 100
    assert fields - named == set()
