"""Builds the table of a profile for a terminal."""

from rich.table import Table

from vlmprune_runtime.benchmark.profile import BundleProfile


def profile_table(profile: BundleProfile) -> Table:
    """Returns the costliest operators of each stage, in milliseconds per call and as a share of the stage."""
    title = f"{profile.folder}: pruned; medians of one call"
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in ("stage", "operator", "by", "uses", "ms", "share"):
        table.add_column(name, justify="right" if name in ("uses", "ms", "share") else "left", no_wrap=True)
    for stage in profile.stages:
        table.add_row(stage.stage, "all", "", "", f"{stage.ms:.3f}", "", style="bold")
        for operator in stage.operators:
            by = "delegate" if operator.delegated else "kernel"
            share = f"{operator.ms / stage.ms:.0%}" if stage.ms else ""
            table.add_row("", operator.name, by, str(operator.uses), f"{operator.ms:.3f}", share)
        table.add_section()
    return table
