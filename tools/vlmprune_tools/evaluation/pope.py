"""The figures that POPE reports beside accuracy; "yes" is the positive answer."""

from collections.abc import Iterable

from vlmprune_tools.evaluation.metrics import parse_yes_no


def pope_figures(pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Returns accuracy, precision, recall, F1 and share of yes of (prediction, label) pairs; 0 instead of 0 / 0.

    >>> pope_figures([("Yes", "yes"), ("yes", "no"), ("No", "no"), ("no", "yes")])
    {'accuracy': 0.5, 'precision': 0.5, 'recall': 0.5, 'f1': 0.5, 'yes_ratio': 0.5}
    """
    parsed = [(parse_yes_no(prediction), label) for prediction, label in pairs]
    hits = parsed.count(("yes", "yes"))
    precision = fraction(hits, sum(answer == "yes" for answer, _ in parsed))
    recall = fraction(hits, sum(label == "yes" for _, label in parsed))
    return {
        "accuracy": fraction(sum(answer == label for answer, label in parsed), len(parsed)),
        "precision": precision,
        "recall": recall,
        "f1": round(2 * precision * recall / (precision + recall), 4) if hits else 0.0,
        "yes_ratio": fraction(sum(answer == "yes" for answer, _ in parsed), len(parsed)),
    }


def fraction(part: int, whole: int) -> float:
    """Returns part / whole, or 0 if the whole is 0."""
    return round(part / whole, 4) if whole else 0.0
