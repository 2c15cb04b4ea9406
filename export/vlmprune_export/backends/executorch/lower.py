"""Lowers captured stages to one .pte: partition, plan memory, write."""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from executorch.exir import (
    EdgeCompileConfig,
    ExecutorchBackendConfig,
    ExecutorchProgramManager,
    to_edge_transform_and_lower,
)
from executorch.exir.passes import MemoryPlanningPass
from torch.export import ExportedProgram

from vlmprune_export.backends.executorch.capture import capture
from vlmprune_export.backends.executorch.constants import constant_methods
from vlmprune_export.backends.executorch.partition import BACKENDS, REFUSED, backend_kind, delegated_fraction
from vlmprune_export.backends.executorch.quantise import PLANS, float_weights, quantised
from vlmprune_export.backends.executorch.stock import FILE as STOCK_FILE
from vlmprune_export.backends.executorch.stock import capture_stock
from vlmprune_export.backends.float_weights import sum_float_weights
from vlmprune_export.backends.lowering_errors import lowering
from vlmprune_export.quiet_libraries import quiet
from vlmprune_export.stage_table import StageEntry
from vlmprune_export.staged_model import StagedModel
from vlmprune_runtime.progress import Report, part_of
from vlmprune_runtime.schema import Cache, FloatWeights, Graph, Lowering, Stage

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
    """Writes `model.pte` with a method per stage and space for `context_tokens` in every cache.

    With `stock` "yes" also `stock.pte`, see `vlmprune_export.backends.executorch.stock`.
    """
    kind, plan = backend_kind(backend, quantised=bool(PLANS[quantisation])), PLANS[quantisation]
    programs: dict[str, ExportedProgram] = {}
    for name, entry in staged.stages.items():
        report(f"{name}: capturing")
        with quantised(staged, name, plan.get(entry.plan_name)), quiet():
            for nth, one in enumerate(entry.each_grid):
                programs[method_name(name, nth)] = capture(staged, one, one.module, context_tokens)
    report(f"all stages to {backend}")
    constants = constant_methods(staged, context_tokens)
    part = part_of(f"all stages to {backend}", report)
    partitioners = _reported({name: kind.partitioners_of(name) for name in programs}, part)
    program, shares = lower_programs(programs, partitioners, constants, backend, folder / FILE)
    floats = {
        name: sum_float_weights(float_weights(programs[name]))
        for name, entry in staged.stages.items()
        if entry.plan_name in plan
    }
    lowered = _Lowered(program, shares, backend, context_tokens, floats)
    stages = {name: _stage(entry, lowered, plan.get(entry.plan_name, "none")) for name, entry in staged.stages.items()}
    if stock == "yes":
        report(f"the stock layout to {backend}")
        with quiet():
            whole = capture_stock(staged, plan, context_tokens)
        partitioners = _reported({name: kind.partitioners() for name in whole}, part)
        lower_programs(whole, partitioners, constants, backend, folder / STOCK_FILE)
    return stages


def versions() -> dict[str, str]:
    """Returns the versions of exporter and runtime packages."""
    return {name: version(name) for name in ("torch", "transformers", "torchao", "executorch")}


def _reported(partitioners: dict[str, list[Any]], report: Report) -> dict[str, list[Any]]:
    """Returns the partitioners, which now report the methods as they come to them: ExecuTorch itself says nothing."""
    names = list(partitioners)
    for nth, (name, own) in enumerate(partitioners.items(), start=1):
        for partitioner in own:
            partitioner.partition = _reporting(partitioner.partition, report, f"{name}, {nth} of {len(names)}")
    return partitioners


def _reporting(partition: Callable[..., Any], report: Report, line: str) -> Callable[..., Any]:
    def reporting(program: ExportedProgram) -> Any:
        report(line)
        return partition(program)

    return reporting


def lower_programs(
    programs: dict[str, ExportedProgram],
    partitioners: dict[str, list[Any]],
    constants: dict[str, Any],
    backend: str,
    path: Path,
) -> tuple[ExecutorchProgramManager, dict[str, float]]:
    """Writes the lowered program to `path`; returns it with the share of each method that delegates took."""
    with lowering("all", f"executorch ({backend})"):
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
    """Plans memory in which no activation of any method overlaps the caches.

    Without `share_mutable_buffers` the methods' arenas overlap, and running one stage overwrites another's cache.
    """
    planning = MemoryPlanningPass(share_mutable_buffers=True, alloc_graph_input=False)
    return ExecutorchBackendConfig(memory_planning_pass=planning, emit_mutable_buffer_names=True)


class _Lowered(NamedTuple):
    """The program of all methods, and what is to be reported of it.

    That is each method's share of delegated operators, by which backend, the length of the caches, and the weights of
    each quantised stage that stay in floating point.
    """

    program: ExecutorchProgramManager
    shares: Mapping[str, float]
    backend: str
    context_tokens: int
    float_weights: Mapping[str, tuple[FloatWeights, ...]]


def method_name(stage: str, grid: int) -> str:
    """Returns the method of a stage for a grid; a stage that serves every grid has the name of the first.

    >>> method_name("vision", 0), method_name("vision", 2)
    ('vision', 'vision_2')
    """
    return f"{stage}_{grid}" if grid else stage


def _stage(entry: StageEntry, lowered: _Lowered, kind: str) -> Stage:
    names = [method_name(entry.name, nth) for nth in range(len(entry.modules))]
    graphs = tuple(Graph(file=FILE, entry=name, grid=entry.grid_of(nth)) for nth, name in enumerate(names))
    update = {
        "graphs": graphs,
        "cache": _cache(entry.declared.cache, lowered.context_tokens),
        "quantisation": kind,
        "lowering": _lowering_report(names, lowered),
    }
    return entry.declared.model_copy(update=update)


def _cache(declared: Cache | None, context_tokens: int) -> Cache | None:
    layout = ("batch", "capacity", "kv_heads", "head_dim")
    return declared and declared.model_copy(update={"capacity_tokens": context_tokens, "layout": layout})


def _lowering_report(names: Sequence[str], lowered: _Lowered) -> Lowering:
    """Reports how the methods of a stage were divided between delegates and the runtime."""
    methods = [plan for plan in lowered.program.executorch_program.execution_plan if plan.name in names]
    return Lowering(
        backend=lowered.backend,
        delegates=tuple(sorted({delegate.id for method in methods for delegate in method.delegates})),
        delegated_fraction=round(min(lowered.shares[name] for name in names), 4),
        operators=tuple(sorted({_operator_name(operator) for method in methods for operator in method.operators})),
        status="runnable" if BACKENDS[lowered.backend].runnable else "lowered, not run",
        float_weights=lowered.float_weights.get(names[0], ()),
    )


def _operator_name(operator: Any) -> str:
    """Returns the name that the runtime's registry has, like `aten::add.out`."""
    return f"{operator.name}.{operator.overload}" if operator.overload else str(operator.name)
