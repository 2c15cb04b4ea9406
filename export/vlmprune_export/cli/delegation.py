"""Reports the delegation of an exported bundle: the share of delegates, and the operators left to the runtime."""

from collections.abc import Iterator

from vlmprune_runtime.schema import Bundle


def delegation_lines(bundle: Bundle) -> Iterator[str]:
    """Yields a line per stage, none for targets without delegates; operators have their names in the runtime."""
    for name, stage in bundle.stages.items():
        if stage.lowering is None:
            continue
        share = f"{stage.lowering.delegated_fraction:.0%} of its operators went to {stage.lowering.backend}"
        note = f" ({stage.lowering.status})" if stage.lowering.status != "runnable" else ""
        yield f"{name}: {share}{note}; the runtime's own: {', '.join(stage.lowering.operators) or 'none'}"
