"""Captured stages to one .pte: partition, plan memory, write."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from executorch.exir import (
    EdgeCompileConfig,
    ExecutorchBackendConfig,
    ExecutorchProgramManager,
    to_edge_transform_and_lower,
)
from executorch.exir.passes import MemoryPlanningPass
from torch.export import ExportedProgram

from vlmprune_export.backends import Report
from vlmprune_export.backends.executorch.capture import Captured, capture
from vlmprune_export.backends.executorch.constants import constant_methods
from vlmprune_export.backends.executorch.partition import BACKENDS, REFUSED, backend_kind, delegated_fraction
from vlmprune_export.backends.executorch.quantise import PLANS, quantised
from vlmprune_export.backends.executorch.stock import FILE as STOCK_FILE
from vlmprune_export.backends.executorch.stock import capture_stock
from vlmprune_export.staged import StagedModel
from vlmprune_runtime.errors import LoweringError
from vlmprune_runtime.schema import STAGES, Lowering, Stage

QUANTISATIONS = tuple(PLANS)
OPTIONS: Mapping[str, tuple[str, ...]] = {"backend": (*BACKENDS, *REFUSED), "stock": ("no", "yes")}
FILE = "model.pte"


def lower(
    staged: StagedModel,
    folder: Path,
    *,
    quantisation: str,
    context_tokens: int,
    report: Report,
    backend: str = "xnnpack",
    stock: str = "no",
) -> dict[str, Stage]:
    """Write `model.pte` with a method per stage and room for `context_tokens` in every cache.

    With `stock` "yes" also `stock.pte`, see `vlmprune_export.backends.executorch.stock`.
    """
    kind, plan = backend_kind(backend, quantised=bool(PLANS[quantisation])), PLANS[quantisation]
    captured = {}
    for name in STAGES:
        report(name)
        with quantised(staged, name, plan.get(name)), _quiet():
            captured[name] = capture(staged, name, context_tokens)
    report(f"all stages to {backend}")
    constants = constant_methods(staged, context_tokens)
    programs = {name: stage.program for name, stage in captured.items()}
    program, shares = lower_programs(programs, kind.for_stages(), constants, backend, folder / FILE)
    stages = {name: _stage(name, captured[name], program, backend, shares[name], plan) for name in STAGES}
    if stock == "yes":
        report(f"the stock layout to {backend}")
        with _quiet():
            whole = capture_stock(staged, plan, context_tokens)
        partitioners = {name: kind.partitioners() for name in whole}
        lower_programs(whole, partitioners, constants, backend, folder / STOCK_FILE)
    return stages


def versions() -> dict[str, str]:
    """Exporter and runtime packages."""
    return {name: version(name) for name in ("torch", "transformers", "torchao", "executorch")}


def lower_programs(
    programs: dict[str, ExportedProgram],
    partitioners: dict[str, list[Any]],
    constants: dict[str, Any],
    backend: str,
    path: Path,
) -> tuple[ExecutorchProgramManager, dict[str, float]]:
    """Written to `path`: the lowered program, and of each method the share that delegates took."""
    with _lowering(backend):
        edge = to_edge_transform_and_lower(
            programs,
            partitioner=partitioners,
            constant_methods=constants,
            # llama:: operators are not in the core set that validity means.
            compile_config=EdgeCompileConfig(_check_ir_validity=False, _skip_dim_order=True),
        )
        shares = {name: delegated_fraction(edge.exported_program(name).graph_module) for name in programs}
        program = edge.to_executorch(_backend_config())
        with path.open("wb") as file:
            program.write_to_file(file)
    return program, shares


def _backend_config() -> ExecutorchBackendConfig:
    """With memory for the caches that no activation of any method shares.

    Without `share_mutable_buffers` the methods' arenas overlap, and running one stage overwrites another's cache.
    """
    planning = MemoryPlanningPass(share_mutable_buffers=True, alloc_graph_input=False)
    return ExecutorchBackendConfig(memory_planning_pass=planning, emit_mutable_buffer_names=True)


def _stage(
    name: str,
    captured: Captured,
    program: ExecutorchProgramManager,
    backend: str,
    share: float,
    plan: Mapping[str, str],
) -> Stage:
    [method] = (found for found in program.executorch_program.execution_plan if found.name == name)
    lowering = Lowering(
        backend=backend,
        delegates=tuple(sorted({delegate.id for delegate in method.delegates})),
        delegated_fraction=round(share, 4),
        operators=tuple(sorted({_operator_name(operator) for operator in method.operators})),
        status="runnable" if BACKENDS[backend].runnable else "lowered, not run",
    )
    kind: Any = plan.get(name, "none")
    return Stage(
        file=FILE, inputs=captured.inputs, outputs=captured.outputs, quantisation=kind, lowering=lowering
    )  # fmt: skip


def _operator_name(operator: Any) -> str:
    """As the runtime's registry has it: `aten::add.out`."""
    return f"{operator.name}.{operator.overload}" if operator.overload else str(operator.name)


@contextlib.contextmanager
def _lowering(backend: str) -> Iterator[None]:
    try:
        with _quiet():
            yield
    except Exception as cause:
        raise LoweringError("all", f"executorch ({backend})", cause) from cause


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporters print and warn about themselves; our progress says what happens."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
