"""`render_report`: records in, HTML out."""

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vlmprune_runtime import __version__
from vlmprune_runtime.benchmark.summary import STAGES
from vlmprune_tools.report import lines, wording
from vlmprune_tools.report.overlays import Overlay
from vlmprune_tools.report.reading import Records
from vlmprune_tools.report.sections import accuracy_section, device_sections

FILTERS = ("ms", "size", "times", "percent")


def render_report(records: Records, overlays: Sequence[Overlay] = ()) -> str:
    """The whole page; it asks nothing of any network and runs no script."""
    templates = environment()
    style, _, _ = templates.loader.get_source(templates, "report.css")  # type: ignore[union-attr]
    return templates.get_template("report.html.j2").render(
        style=Markup(style),
        version=__version__,
        devices=device_sections(records.benchmarks),
        accuracies=[accuracy_section(record) for record in records.accuracies],
        overlays=overlays,
        stages=STAGES,
        axes=lines,
    )


def environment() -> Environment:
    """Templates in which every value is cleaned of control marks and then escaped."""
    made = Environment(
        loader=PackageLoader("vlmprune_tools.report", "templates"),
        autoescape=True,
        finalize=clean,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update({name: getattr(wording, name) for name in FILTERS})
    return made


def clean(value: object) -> object:
    """A value as it is put into the page."""
    return wording.plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value
