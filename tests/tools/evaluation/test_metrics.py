"""The metrics agree with the benchmarks' definitions."""

import pytest

from vlmprune_tools.evaluation.metrics import METRICS, exact_match, normalise_vqa, parse_yes_no, vqa_accuracy
from vlmprune_tools.evaluation.pope import pope_figures


@pytest.mark.parametrize(
    ("predicted", "answers", "right"),
    [
        ("dog", ["dog"], 1.0),
        (" Dog. ", ["dog"], 1.0),
        ("dog", ["Dog."], 1.0),
        ("hound", ["dog", "hound"], 1.0),
        ("a dog", ["dog"], 0.0),
        ("dog..", ["dog"], 0.0),
        ("", ["dog"], 0.0),
    ],
)
def test_exact(predicted: str, answers: list[str], right: float) -> None:
    assert exact_match(predicted, answers) == right


@pytest.mark.parametrize(("matches", "expected"), [(0, 0.0), (1, 1 / 3), (2, 2 / 3), (3, 1.0), (10, 1.0)])
def test_vqa_counts_three_people_as_right(matches: int, expected: float) -> None:
    assert vqa_accuracy("red", ["red"] * matches + ["blue"] * (10 - matches)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Dog", "dog"),
        ("two", "2"),
        ("none", "0"),
        ("Isn't", "isnt"),
        ("isnt", "isnt"),
        ("yes!", "yes"),
        ("black/white", "black white"),
        ("black / white", "black white"),
        ("10,000 people", "10000 people"),
        ("at 3.15 p.m.", "at 3.15 pm"),
        ("an apple\nand a pear", "apple and pear"),
    ],
)
def test_vqa_normal_form(text: str, expected: str) -> None:
    assert normalise_vqa(text) == expected


@pytest.mark.parametrize(
    ("predicted", "read"),
    [("Yes", "yes"), ("no", "no"), ("No, it is", "no"), ("NO", "yes"), ("There is not. Yes", "no"), ("Yes. No", "yes")],
)
def test_pope_reads_the_first_sentence(predicted: str, read: str) -> None:
    assert parse_yes_no(predicted) == read


def test_pope_figures_are_those_of_the_counts() -> None:
    """3 true positives, 1 false positive, 2 false negatives, 4 true negatives."""
    pairs = [("yes", "yes")] * 3 + [("yes", "no")] + [("no", "yes")] * 2 + [("no", "no")] * 4
    expected = {"accuracy": 0.7, "precision": 0.75, "recall": 0.6, "f1": 0.6667, "yes_ratio": 0.4}
    assert pope_figures(pairs) == expected


def test_pope_of_a_model_that_never_says_yes() -> None:
    assert pope_figures([("no", "yes"), ("no", "no")])["f1"] == 0.0


def test_pope_scores_the_reading_not_the_word() -> None:
    assert METRICS["pope"]("There is not any", ["no"]) == 1.0
