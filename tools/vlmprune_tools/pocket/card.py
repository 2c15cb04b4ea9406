"""Publishes measured figures in the record and the model card that are shipped with the weights."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmprune_tools.scenes.artwork import EVALUATION_VENDORS

START, STOP = "<!-- figures: start -->", "<!-- figures: stop -->"


def publish_figures(figures: Sequence[Path], record: Path, card: Path) -> None:
    """Puts outputs of `evaluate` into `record` (JSON) and, as tables, between the marks of `card`."""
    measured = [json.loads(path.read_text(encoding="utf-8")) for path in figures]
    content = json.loads(record.read_text(encoding="utf-8")) | {"measured": measured}
    record.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    before, _, rest = card.read_text(encoding="utf-8").partition(START)
    after = rest.partition(STOP)[2]
    tables = "\n".join(table(item) for item in measured)
    card.write_text(f"{before}{START}\n{tables}\n{STOP}{after}", encoding="utf-8")


def table(measured: Mapping[str, Any]) -> str:
    """Returns one evaluation as a Markdown table.

    >>> print(table({"source": "hard", "split": "test", "pictures": 9, "blind": False, "dtype": "float32",
    ...     "families": {"naming": {"right": 9, "asked": 10, "accuracy": 0.9, "interval": [0.6, 0.98],
    ...     "most_frequent_answer": 0.2}}}))
    **hard, test, 9 images (float32)**
    <BLANKLINE>
    | questions | right | accuracy | 95 % interval | always the most frequent answer |
    |---|---|---|---|---|
    | naming | 9 of 10 | 0.900 | 0.600 - 0.980 | 0.200 |
    <BLANKLINE>
    """
    rows = [
        f"**{measured['source']}, {measured['split']}, {measured['pictures']} images ({conditions(measured)})**",
        "",
    ]
    rows += [
        "| questions | right | accuracy | 95 % interval | always the most frequent answer |",
        "|---|---|---|---|---|",
    ]
    rows += [table_row(family, figures) for family, figures in measured["families"].items()]
    return "\n".join([*rows, ""])


def conditions(measured: Mapping[str, Any]) -> str:
    """Returns the data type and all conditions that differ from the usual evaluation.

    >>> conditions({"dtype": "bfloat16", "blind": True, "reworded": True, "vendors": "facebook"})
    'bfloat16, artwork of facebook, in words never trained on, blind: a grey image is shown'
    """
    vendors = measured.get("vendors", ",".join(EVALUATION_VENDORS))
    listed = [measured["dtype"]]
    listed += [f"artwork of {vendors}"] if vendors != ",".join(EVALUATION_VENDORS) else []
    listed += ["in words never trained on"] if measured.get("reworded") else []
    listed += ["blind: a grey image is shown"] if measured["blind"] else []
    return ", ".join(listed)


def table_row(family: str, figures: Mapping[str, Any]) -> str:
    """Returns the table's row for one family of questions."""
    low, high = figures["interval"]
    cells = (
        family,
        f"{figures['right']} of {figures['asked']}",
        f"{figures['accuracy']:.3f}",
        f"{low:.3f} - {high:.3f}",
        f"{figures['most_frequent_answer']:.3f}",
    )
    return f"| {' | '.join(cells)} |"
