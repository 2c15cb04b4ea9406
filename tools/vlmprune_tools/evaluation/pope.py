"""What POPE reports beside accuracy; "yes" is the positive answer."""

from collections.abc import Iterable

from vlmprune_tools.evaluation.answers import yes_or_no


def pope_figures(pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Accuracy, precision, recall, F1 and share of yes, from (said, label) pairs; 0 where nothing can be divided.

    >>> pope_figures([("Yes", "yes"), ("yes", "no"), ("No", "no"), ("no", "yes")])
    {'accuracy': 0.5, 'precision': 0.5, 'recall': 0.5, 'f1': 0.5, 'yes_ratio': 0.5}
    """
    read = [(yes_or_no(said), label) for said, label in pairs]
    hits = read.count(("yes", "yes"))
    precision = share(hits, sum(said == "yes" for said, _ in read))
    recall = share(hits, sum(label == "yes" for _, label in read))
    return {
        "accuracy": share(sum(said == label for said, label in read), len(read)),
        "precision": precision,
        "recall": recall,
        "f1": round(2 * precision * recall / (precision + recall), 4) if hits else 0.0,
        "yes_ratio": share(sum(said == "yes" for said, _ in read), len(read)),
    }


def share(part: int, whole: int) -> float:
    """A fraction, 0 of nothing."""
    return round(part / whole, 4) if whole else 0.0
