"""Asks templated questions about a scene, in families, each with one right answer of one word."""

import random
from collections.abc import Sequence

from vlmprune_tools.scenes.concepts import DIGITS, GROUP_OF, INCLUDES
from vlmprune_tools.scenes.scene import Question, Scene

MOST_COUNTED = 5
NEAR_DUPLICATES = 0.5  # share of the absent concepts that are of the group of a present one

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
    """Returns all questions about a scene; more `rounds` repeat the random ones."""
    if scene.questions:
        return list(scene.questions)
    asked: list[Question] = []
    if scene.kind == "empty" and scene.photo_concepts:
        asked.append(Question("naming", "What is in the picture?", scene.photo_concepts[0]))
    if scene.kind == "one":
        asked += [Question("naming", "What is in the picture?", scene.objects[0].concept)] * rounds
    for _ in range(rounds):
        asked += presence(scene, concepts, rng) + relations(scene, rng)
    if scene.colour:
        asked.append(Question("colour", "What color is the background?", scene.colour))
    if 1 <= len(scene.objects) <= MOST_COUNTED:
        asked.append(Question("counting", "How many objects are there?", DIGITS[len(scene.objects)]))
    return [*asked, *sides(scene, rng)]


def with_article(word: str) -> str:
    """Returns `word` with its indefinite article.

    >>> with_article("owl"), with_article("dog")
    ('an owl', 'a dog')
    """
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def presence(scene: Scene, concepts: Sequence[str], rng: random.Random) -> list[Question]:
    """Asks for a present concept if there is one, and for an absent one if there is one."""
    present = [item.concept for item in scene.objects]
    named = [(rng.choice(present), "yes")] if present else []
    missing = absent_concept(scene, concepts, rng)
    named += [(missing, "no")] if missing else []
    return [Question("presence", f"Is there {with_article(name)}?", answer) for name, answer in named]


def absent_concept(scene: Scene, concepts: Sequence[str], rng: random.Random) -> str | None:
    """Chooses a concept that neither objects nor a background photo show, often of the group of a present one."""
    present = {item.concept for item in scene.objects}
    shown = present | set(scene.photo_concepts)
    others = [name for name in concepts if name not in shown and not present & set(INCLUDES.get(name, ()))]
    groups = {GROUP_OF.get(name) for name in present}
    related = [name for name in others if GROUP_OF.get(name) in groups]
    candidates = related if related and rng.random() < NEAR_DUPLICATES else others
    return rng.choice(candidates) if candidates else None


def ordered(scene: Scene) -> tuple[str, str]:
    """Returns the two concepts of a row from the left, or of a column from the top."""
    axis = ("row", "column").index(scene.kind)
    first, second = sorted(scene.objects[:2], key=lambda item: item.centre[axis])
    return first.concept, second.concept


def sides(scene: Scene, rng: random.Random) -> list[Question]:
    """Asks which concept is on each side, and on which side one of the concepts is."""
    if scene.kind not in ("row", "column"):
        return []
    names = ordered(scene)
    which = rng.randrange(2)
    if scene.kind == "row":
        return [
            Question("left-right", "What is on the left?", names[0]),
            Question("left-right", "What is on the right?", names[1]),
            Question("position", f"Is the {names[which]} on the left or right?", ("left", "right")[which]),
        ]
    return [
        Question("top-bottom", "What is at the top?", names[0]),
        Question("top-bottom", "What is at the bottom?", names[1]),
        Question("position", f"Is the {names[which]} at the top or bottom?", ("top", "bottom")[which]),
    ]


def relations(scene: Scene, rng: random.Random) -> list[Question]:
    """Asks whether one object is left of, right of, above or below the other."""
    if scene.kind not in ("row", "column"):
        return []
    words = ("left of", "right of") if scene.kind == "row" else ("above", "below")
    names, which, claim = ordered(scene), rng.randrange(2), rng.randrange(2)
    text = f"Is the {names[which]} {words[claim]} the {names[1 - which]}?"
    return [Question("relation", text, "yes" if which == claim else "no")]
