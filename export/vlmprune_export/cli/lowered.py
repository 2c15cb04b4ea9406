"""What an export tells of its lowering: how much a delegate took, and what is left to the runtime."""

from collections.abc import Iterator

from vlmprune_runtime.schema import Bundle


def lowering_lines(bundle: Bundle) -> Iterator[str]:
    """A line a stage, nothing for targets without delegates; operators as the runtime registers them."""
    for name, stage in bundle.stages.items():
        if stage.lowering is None:
            continue
        share = f"{stage.lowering.delegated_fraction:.0%} of its operators went to {stage.lowering.backend}"
        note = f" ({stage.lowering.status})" if stage.lowering.status != "runnable" else ""
        yield f"{name}: {share}{note}; the runtime's own: {', '.join(stage.lowering.operators) or 'none'}"
