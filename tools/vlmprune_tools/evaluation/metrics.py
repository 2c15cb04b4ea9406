"""Scores of predictions from 0 to 1, by the rules of the benchmark that a question comes from."""

import re
from collections.abc import Callable, Sequence

VQA_ANSWERS = 10
ARTICLES = {"a", "an", "the"}
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DIGIT_OF = {word: str(number) for number, word in enumerate(NUMBERS)} | {"none": "0"}
PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """Returns 1 for one of the answers, ignoring case and a final full stop (as GQA is scored).

    >>> exact_match("Red.", ["red", "crimson"]), exact_match("reddish", ["red"])
    (1.0, 0.0)
    """
    return float(normalise(prediction) in {normalise(answer) for answer in answers})


def normalise(text: str) -> str:
    """Removes surrounding white space and a final full stop, and lowers the case.

    >>> normalise(" Yes. ")
    'yes'
    """
    return text.strip().removesuffix(".").strip().lower()


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Returns VQA's soft accuracy min(matches / 3, 1) over the normalised answers of ten people.

    >>> round(vqa_accuracy("two", ["2"] * 2 + ["3"] * 8), 3), vqa_accuracy("The dog!", ["dog"] * 4 + ["cat"] * 6)
    (0.667, 1.0)
    """
    normalised = normalise_vqa(prediction)
    return min(sum(normalise_vqa(answer) == normalised for answer in answers) / 3, 1.0)


def normalise_vqa(text: str) -> str:
    """Returns VQA's normal form: no punctuation, no articles, number words as digits, contractions alike.

    VQA's table of contractions maps "dont" to "don't"; here both lose the apostrophe.

    >>> normalise_vqa("A dog, isn't it?"), normalise_vqa("1,000"), normalise_vqa("3.5 ft."), normalise_vqa("left-hand")
    ('dog isnt it', '1000', '3.5 ft', 'left hand')
    """
    text = strip_punctuation(" ".join(text.split()))
    text = re.sub(r"\.(?!\d)", "", text).lower().replace("'", "")
    return " ".join(DIGIT_OF.get(word, word) for word in text.split() if word not in ARTICLES)


def strip_punctuation(text: str) -> str:
    """Removes each mark that stands beside a space, or all if a number has a comma; replaces the rest by spaces."""
    number_with_comma = re.search(r"\d,\d", text) is not None
    stripped = text
    for mark in PUNCTUATION:
        beside_space = f"{mark} " in text or f" {mark}" in text
        stripped = stripped.replace(mark, "" if beside_space or number_with_comma else " ")
    return stripped


def pope_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Returns 1 if the prediction, read as POPE reads it, equals the label."""
    return float(parse_yes_no(prediction) == answers[0])


def parse_yes_no(prediction: str) -> str:
    """Reads a prediction as POPE does: "no" if its first sentence has the word no or not, otherwise "yes".

    >>> [parse_yes_no(text) for text in ("No, there is not.", "There are not any. Yes", "a dog", "Nothing")]
    ['no', 'no', 'yes', 'yes']
    """
    words = prediction.split(".")[0].replace(",", "").split()
    return "no" if {"No", "no", "not"} & set(words) else "yes"


Metric = Callable[[str, Sequence[str]], float]
AGREEMENT = "agreement"
METRICS: dict[str, Metric] = {
    "exact": exact_match,
    "vqa": vqa_accuracy,
    "pope": pope_accuracy,
    AGREEMENT: exact_match,
}
DESCRIPTIONS = {
    "exact": "exact match but for case and a final full stop",
    "vqa": "VQA soft accuracy, min(matches / 3, 1)",
    "pope": "POPE accuracy",
    AGREEMENT: "agreement with the unpruned model's own answer, for the file has none",
}
