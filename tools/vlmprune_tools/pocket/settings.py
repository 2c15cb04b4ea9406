"""All that a training run depends on besides its data, with the defaults in one place."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Settings:
    """All that a run depends on besides its data."""

    steps: int = 300
    dense_until: float = 0.0
    dense_rows: int = 24
    dense_visual: int = 40
    dense_question_tokens: int = 36
    full_from: float = 0.5
    full_fraction: float = 0.2
    rows: int = 16
    full_rows: int = 6
    sampled_visual: int = 127
    question_tokens: int = 112
    full_question_tokens: int = 160
    rounds: int = 2
    full_rounds: int = 4
    lora_rate: float = 4e-4
    projector_rate: float = 1e-4
    lowest_rate: float = 0.03
    warm_up_steps: int = 10
    end_weight: float = 0.05
    reworded: float = 0.25
    seeing_weight: float = 0.5
    seed: int = 0
    save_every: int = 10
    family_weights: Mapping[str, float] = field(
        default_factory=lambda: {
            "naming": 3.0,
            "presence": 1.0,
            "colour": 2.0,
            "left-right": 3.0,
            "top-bottom": 2.0,
            "counting": 4.0,
            "easy-vqa": 1.5,
            "word": 2.0,
            "digit": 1.0,
        }
    )
