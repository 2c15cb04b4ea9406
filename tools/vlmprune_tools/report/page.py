"""Renders records as HTML."""

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vlmprune_runtime import __version__
from vlmprune_runtime.benchmark.summary import STAGES
from vlmprune_runtime.byte_size import format_bytes
from vlmprune_tools.methods.speed_table import SPEED_HEADS
from vlmprune_tools.report import formatting, frontier, line_charts
from vlmprune_tools.report.overlays import Overlay
from vlmprune_tools.report.reading import Records
from vlmprune_tools.report.sections import accuracy_section, device_sections, methods_section

FILTERS = ("ms", "times", "percent")


def render_report(records: Records, overlays: Sequence[Overlay] = ()) -> str:
    """Returns the whole page, which loads nothing from a network and runs no script."""
    templates = environment()
    style, _, _ = templates.loader.get_source(templates, "report.css")  # type: ignore[union-attr]
    return templates.get_template("report.html.j2").render(
        style=Markup(style),
        version=__version__,
        devices=device_sections(records.benchmarks),
        accuracies=[accuracy_section(record) for record in records.accuracies],
        overlays=overlays,
        stages=STAGES,
        axes=line_charts,
        methods=[methods_section(record) for record in records.methods],
        frontier_axes=frontier,
        speed_heads=SPEED_HEADS,
    )


def environment() -> Environment:
    """Returns templates in which every value loses its control characters and is then escaped."""
    templates = Environment(
        loader=PackageLoader("vlmprune_tools.report", "templates"),
        autoescape=True,
        finalize=clean,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update({name: getattr(formatting, name) for name in FILTERS}, format_bytes=format_bytes)
    return templates


def clean(value: object) -> object:
    """Returns a value without control characters, as the page may contain it."""
    return formatting.plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value
