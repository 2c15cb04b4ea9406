"""How right an answer is, from 0 to 1, by the rules of the benchmark that the question comes from."""

import re
from collections.abc import Callable, Sequence

VQA_ANSWERS = 10
ARTICLES = {"a", "an", "the"}
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DIGIT_OF = {word: str(number) for number, word in enumerate(NUMBERS)} | {"none": "0"}
MARKS = ';/[]"{}()=+\\_-><@`,?!'


def exact(said: str, answers: Sequence[str]) -> float:
    """1 for one of the answers, but for case and a full stop at the end (as GQA is scored).

    >>> exact("Red.", ["red", "crimson"]), exact("reddish", ["red"])
    (1.0, 0.0)
    """
    return float(plain(said) in {plain(answer) for answer in answers})


def plain(text: str) -> str:
    """Without white space around, case and a full stop at the end.

    >>> plain(" Yes. ")
    'yes'
    """
    return text.strip().removesuffix(".").strip().lower()


def vqa(said: str, answers: Sequence[str]) -> float:
    """VQA's soft accuracy min(matches / 3, 1) over the answers of ten people, all normalised.

    >>> round(vqa("two", ["2"] * 2 + ["3"] * 8), 3), vqa("The dog!", ["dog"] * 4 + ["cat"] * 6)
    (0.667, 1.0)
    """
    wanted = normalised(said)
    return min(sum(normalised(answer) == wanted for answer in answers) / 3, 1.0)


def normalised(text: str) -> str:
    """VQA's normal form: no punctuation, no articles, number words as digits, contractions alike.

    VQA's table of contractions brings "dont" to "don't"; here both lose the apostrophe.

    >>> normalised("A dog, isn't it?"), normalised("1,000"), normalised("3.5 ft."), normalised("left-hand")
    ('dog isnt it', '1000', '3.5 ft', 'left hand')
    """
    text = without_marks(" ".join(text.split()))
    text = re.sub(r"\.(?!\d)", "", text).lower().replace("'", "")
    return " ".join(DIGIT_OF.get(word, word) for word in text.split() if word not in ARTICLES)


def without_marks(text: str) -> str:
    """Each mark taken out where it stands beside a space or the text has a comma in a number, else made a space."""
    number = re.search(r"\d,\d", text) is not None
    cleaned = text
    for mark in MARKS:
        beside = f"{mark} " in text or f" {mark}" in text
        cleaned = cleaned.replace(mark, "" if beside or number else " ")
    return cleaned


def pope(said: str, answers: Sequence[str]) -> float:
    """1 if the answer, read as POPE reads it, is the label."""
    return float(yes_or_no(said) == answers[0])


def yes_or_no(said: str) -> str:
    """POPE's reading: "no" where the first sentence has the word no or not, otherwise "yes".

    >>> yes_or_no("No, there is not."), yes_or_no("There are not any. Yes"), yes_or_no("a dog"), yes_or_no("Nothing")
    ('no', 'no', 'yes', 'yes')
    """
    words = said.split(".")[0].replace(",", "").split()
    return "no" if {"No", "no", "not"} & set(words) else "yes"


Metric = Callable[[str, Sequence[str]], float]
AGREEMENT = "agreement"
METRICS: dict[str, Metric] = {"exact": exact, "vqa": vqa, "pope": pope, AGREEMENT: exact}
MEANINGS = {
    "exact": "exact match but for case and a final full stop",
    "vqa": "VQA soft accuracy, min(matches / 3, 1)",
    "pope": "POPE accuracy",
    AGREEMENT: "agreement with the unpruned model's own answer, for the file has none",
}
