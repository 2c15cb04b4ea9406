"""Exports and times one bundle for every method, rate and engine of an evaluation; what is there already is kept."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmprune_runtime.atomic import save_text
from vlmprune_runtime.errors import BadRequest, VlmPruneError
from vlmprune_tools.evaluation.pruning_config import BLIND, UNPRUNED


class CellFailed(VlmPruneError):
    """A bundle could not be exported or timed."""


@dataclass(frozen=True)
class Cell:
    """A method at one rate on one engine: `target` and `quantisation` are those of `vlmprune-export`."""

    method: str
    keep: int
    kept_tokens: int
    target: str
    quantisation: str = "none"

    @property
    def engine(self) -> str:
        """Returns the engine's name in tables."""
        return f"{self.target} {'fp32' if self.quantisation == 'none' else self.quantisation}"

    @property
    def file_name(self) -> str:
        """Returns the name of the cell's file.

        >>> Cell("saint:place=tower", 64, 98, "onnx").file_name
        'onnx-none-saint+place=tower-64.json'
        """
        return f"{self.target}-{self.quantisation}-{self.method.replace(':', '+')}-{self.keep}.json"


def cells_of(record: Mapping[str, Any], keeps: Sequence[int], engines: Sequence[str]) -> list[Cell]:
    """Returns the cells of an evaluation's methods at these rates, engine by engine.

    Engines are targets, with a quantisation behind a colon: `onnx`, `onnx:int8`.
    """
    known = {config["keep"] for config in record["methods"] if config["method"] not in (UNPRUNED, BLIND)}
    if wrong := sorted(set(keeps) - known):
        raise BadRequest(f"keeps: got {wrong[0]}; allowed: those of the evaluation, {sorted(known)}")
    cells = []
    for engine in engines:
        target, _, quantisation = engine.partition(":")
        for keep in keeps:
            cells += [
                Cell(config["method"], keep, config["kept_tokens"], target, quantisation or "none")
                for config in record["methods"]
                if config["keep"] == keep and config["method"] not in (UNPRUNED, BLIND)
            ]
    return cells


def measure(cell: Cell, model: str, folder: Path, bench: Sequence[str]) -> bool:
    """Measures a cell unless its file is there, and says whether it had to. `bench` are options of `vlmprune-bench`.

    The bundle is removed afterwards. Raises `CellFailed` with the last line that a command printed.
    """
    out = folder / cell.file_name
    if out.is_file():
        return False
    bundle, result = folder / "bundle", folder / "bench.json"
    shutil.rmtree(bundle, ignore_errors=True)
    name, *settings = cell.method.split(":")
    sets = [part for setting in settings for part in ("--set", setting)]
    wanted = ["--target", cell.target, "--quant", cell.quantisation, "--pruner", name, "--keep", str(cell.kept_tokens)]
    _call("vlmprune_export.cli.export", model, *wanted, *sets, "--out", str(bundle))
    _call("vlmprune_runtime.cli.bench", str(bundle), *bench, "--json", str(result))
    measured = {"cell": vars(cell), "benchmark": json.loads(result.read_text(encoding="utf-8"))}
    save_text(json.dumps(measured, indent=1) + "\n", out)
    result.unlink()
    shutil.rmtree(bundle)
    return True


def _call(module: str, *arguments: str) -> None:
    """Runs a command in a process of its own, whose memory then is that of one bundle."""
    code = f"import sys; from {module} import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "nothing was printed").splitlines()[-1]
        raise CellFailed(f"{module} {' '.join(arguments)}: {last}")
