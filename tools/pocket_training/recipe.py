"""Reads a recipe: the phases of training in order, each with all that its result depends on."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vlmprune_runtime.errors import BadRequest, UnknownName
from vlmprune_tools.scenes.artwork import TRAINING_VENDORS

RECIPE = Path(__file__).with_name("recipe.toml")
NOTHING, SHIPPED = "nothing", "shipped"


@dataclass(frozen=True)
class Align:
    """Trains the projector, and the tower's upper layers unless `tower` is False, to put patches near their words."""

    name: str
    start: str
    mix: Mapping[str, float]
    steps: int
    tower: bool = True
    rate: float = 2.5e-4
    pictures: int = 4  # per step
    seed: int = 0


@dataclass(frozen=True)
class Average:
    """Averages phases that continue one another; the mean has a smaller error than each of them."""

    name: str
    of: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """Trains the language model and the projector to answer questions; every step sees all visual tokens."""

    name: str
    start: str
    mix: Mapping[str, float]
    steps: int
    language_rate: float = 4e-4
    projector_rate: float = 1e-4
    pictures: int = 3  # per step
    rounds: int = 4  # of the random questions about each image
    question_tokens: int = 160  # per image
    paraphrased: float = 0.25  # share of the questions
    end_weight: float = 0.05
    seeing_weight: float = 0.5
    seed: int = 0
    family_weights: Mapping[str, float] = field(
        default_factory=lambda: {
            "naming": 3.0,
            "colour": 2.0,
            "left-right": 3.0,
            "top-bottom": 2.0,
            "counting": 4.0,
            "easy-vqa": 1.5,
            "word": 2.0,
        }
    )


Phase = Align | Average | Answer
KINDS: dict[str, type[Phase]] = {"align": Align, "average": Average, "answer": Answer}


@dataclass(frozen=True)
class Recipe:
    """The phases in order, and the vendors whose artwork images show; a vendor named twice appears twice as often."""

    vendors: tuple[str, ...]
    phases: tuple[Phase, ...]

    def as_json(self) -> dict[str, Any]:
        """Returns plain data for the record beside the weights."""
        return {"vendors": list(self.vendors), "phases": [asdict(phase) for phase in self.phases]}


def read_recipe(path: Path, most_steps: int | None = None) -> Recipe:
    """Reads a recipe; `most_steps` shortens every phase. Raises `BadRequest` for what cannot be replayed."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        phases = [_phase(dict(entry), most_steps) for entry in content["phase"]]
        vendors = tuple(content["vendors"])
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise BadRequest(f"{path}: is not a recipe: {error}") from None
    _check_starts(phases)
    if unknown := sorted(set(vendors) - set(TRAINING_VENDORS)):
        raise UnknownName("vendor", unknown[0], TRAINING_VENDORS)
    return Recipe(vendors, tuple(phases))


def _phase(entry: dict[str, Any], most_steps: int | None) -> Phase:
    kind = entry.pop("kind")
    if kind not in KINDS:
        raise UnknownName("kind of phase", kind, KINDS)
    phase = KINDS[kind](**entry)
    if isinstance(phase, Average) or most_steps is None:
        return phase
    return replace(phase, steps=min(phase.steps, most_steps))


def _check_starts(phases: Sequence[Phase]) -> None:
    known = [NOTHING, SHIPPED]
    for phase in phases:
        for start in phase.of if isinstance(phase, Average) else (phase.start,):
            if start not in known:
                raise UnknownName(f"start of phase {phase.name!r}", start, known)
        known.append(phase.name)
