"""Templated questions about a scene, in families, each with one right answer of one word."""

import random
from collections.abc import Sequence

from vlmprune_tools.pocket.concepts import DIGITS, GROUP_OF, INCLUDES
from vlmprune_tools.pocket.scenes import Scene

Question = tuple[str, str, str]  # family, question, answer

MOST_COUNTED = 5
NEAR_DUPLICATES = 0.5  # share of the absent things asked for that are kindred to what is there

FAMILIES = (
    "naming",
    "presence",
    "colour",
    "left-right",
    "top-bottom",
    "relation",
    "position",
    "counting",
    "easy-vqa",
    "word",
    "digit",
    "photo",
)


def questions(scene: Scene, concepts: Sequence[str], rng: random.Random, rounds: int = 1) -> list[Question]:
    """All questions about a scene; more `rounds` repeat those that are drawn at random."""
    if scene.asked:
        return list(scene.asked)
    asked: list[Question] = []
    if scene.kind == "empty" and scene.shows:
        asked.append(("naming", "What is in the picture?", scene.shows[0]))
    if scene.kind == "one":
        asked += [("naming", "What is in the picture?", scene.objects[0].concept)] * rounds
    for _ in range(rounds):
        asked += presence(scene, concepts, rng) + relations(scene, rng)
    if scene.colour:
        asked.append(("colour", "What color is the background?", scene.colour))
    if 1 <= len(scene.objects) <= MOST_COUNTED:
        asked.append(("counting", "How many objects are there?", DIGITS[len(scene.objects)]))
    return [*asked, *sides(scene, rng)]


def article(word: str) -> str:
    """`word` with its indefinite article.

    >>> article("owl"), article("dog")
    ('an owl', 'a dog')
    """
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def presence(scene: Scene, concepts: Sequence[str], rng: random.Random) -> list[Question]:
    """One question to be answered yes, where anything is there, and one no, where anything is not."""
    there = [item.concept for item in scene.objects]
    named = [(rng.choice(there), "yes")] if there else []
    missing = absent(scene, concepts, rng)
    named += [(missing, "no")] if missing else []
    return [("presence", f"Is there {article(name)}?", answer) for name, answer in named]


def absent(scene: Scene, concepts: Sequence[str], rng: random.Random) -> str | None:
    """A concept that is neither there nor shown by a background photo; often one kindred to what is there."""
    there = {item.concept for item in scene.objects}
    shown = there | set(scene.shows)
    others = [name for name in concepts if name not in shown and not there & set(INCLUDES.get(name, ()))]
    groups = {GROUP_OF.get(name) for name in there}
    kindred = [name for name in others if GROUP_OF.get(name) in groups]
    few = kindred if kindred and rng.random() < NEAR_DUPLICATES else others
    return rng.choice(few) if few else None


def ordered(scene: Scene) -> tuple[str, str]:
    """The two concepts of a row from the left, or of a column from the top."""
    axis = ("row", "column").index(scene.kind)
    first, second = sorted(scene.objects[:2], key=lambda item: item.centre[axis])
    return first.concept, second.concept


def sides(scene: Scene, rng: random.Random) -> list[Question]:
    """What is on each side, and on which side something is."""
    if scene.kind not in ("row", "column"):
        return []
    names = ordered(scene)
    which = rng.randrange(2)
    if scene.kind == "row":
        return [
            ("left-right", "What is on the left?", names[0]),
            ("left-right", "What is on the right?", names[1]),
            ("position", f"Is the {names[which]} on the left or right?", ("left", "right")[which]),
        ]
    return [
        ("top-bottom", "What is at the top?", names[0]),
        ("top-bottom", "What is at the bottom?", names[1]),
        ("position", f"Is the {names[which]} at the top or bottom?", ("top", "bottom")[which]),
    ]


def relations(scene: Scene, rng: random.Random) -> list[Question]:
    """Whether one object is left of, right of, above or below the other."""
    if scene.kind not in ("row", "column"):
        return []
    words = ("left of", "right of") if scene.kind == "row" else ("above", "below")
    names, which, claim = ordered(scene), rng.randrange(2), rng.randrange(2)
    question = f"Is the {names[which]} {words[claim]} the {names[1 - which]}?"
    return [("relation", question, "yes" if which == claim else "no")]
