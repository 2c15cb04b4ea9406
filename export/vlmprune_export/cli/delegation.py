"""Reports how a bundle was lowered: the share of delegates, the operators left to the runtime, and what stays float."""

from collections.abc import Iterator

from vlmprune_runtime.byte_size import format_bytes
from vlmprune_runtime.cli.contents import stage_bytes
from vlmprune_runtime.schema import Bundle


def delegation_lines(bundle: Bundle) -> Iterator[str]:
    """Yields a line per stage of a target with delegates, and one of each quantised stage with much in fp32.

    Operators have their names in the runtime.
    """
    for name, stage in bundle.stages.items():
        if stage.lowering is None:
            continue
        if floats := stage.lowering.float_weights:
            size = sum(one.size_bytes for one in floats)
            parts = ", ".join(f"{one.operator} {format_bytes(one.size_bytes)}" for one in floats)
            yield f"{name}: {size / stage_bytes(bundle, name):.1%} of its bytes stay in floating point ({parts})"
        if bundle.target != "executorch":
            continue
        share = f"{stage.lowering.delegated_fraction:.0%} of its operators went to {stage.lowering.backend}"
        note = f" ({stage.lowering.status})" if stage.lowering.status != "runnable" else ""
        yield f"{name}: {share}{note}; the runtime's own: {', '.join(stage.lowering.operators) or 'none'}"
