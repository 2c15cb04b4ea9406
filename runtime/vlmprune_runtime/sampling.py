"""Chooses the next token from the logits."""

from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.errors import BadRequest, EngineError
from vlmprune_runtime.penalties import AnswerProgress, apply_penalties
from vlmprune_runtime.schema import Generation


def _check(name: str, value: Any, allowed: str, holds: Any) -> None:
    if value is not None and not holds(value):
        raise BadRequest(f"{name}: got {value}, allowed: {allowed}")


@dataclass(frozen=True)
class Sampling:
    """Holds the settings that a request has in place of the bundle's own generation settings; None leaves the bundle's.

    `temperature` 0 decodes greedily, above 0 it samples. `top_k` 0, `top_p` 1 and `min_p` 0 exclude no token.
    """

    temperature: float | None = None
    top_p: float | None = None
    seed: int = 0
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None

    def __post_init__(self) -> None:
        """Raises `BadRequest` for a setting out of its range."""
        _check("temperature", self.temperature, "0 or more", lambda value: isfinite(value) and value >= 0)
        _check("top_p", self.top_p, "above 0 up to 1", lambda value: 0 < value <= 1)
        _check("seed", self.seed, "0 or more", lambda value: value >= 0)
        _check("top_k", self.top_k, "0 or more", lambda value: value >= 0)
        _check("min_p", self.min_p, "0 to 1", lambda value: 0 <= value <= 1)
        _check("repetition_penalty", self.repetition_penalty, "above 0", lambda value: isfinite(value) and value > 0)

    def applied(self, settings: Generation) -> Generation:
        """Returns the bundle's settings, with the requested settings in place of them."""
        requested: dict[str, Any] = {
            name: value
            for name in ("top_p", "top_k", "min_p", "repetition_penalty")
            if (value := getattr(self, name)) is not None
        }
        if self.temperature is not None:
            requested |= {"do_sample": self.temperature > 0}
            requested |= {"temperature": self.temperature} if self.temperature > 0 else {}
        return settings.model_copy(update=requested)


GREEDY = Sampling(temperature=0.0)
AS_EXPORTED = Sampling()


@dataclass
class TokenChooser:
    """Chooses the tokens of one answer; the sequence (S,) is the prompt and grows with every choice.

    An answer has at most `limit` tokens, which only a forced stop token needs to know.
    """

    settings: Generation
    sequence: npt.NDArray[np.int64]
    limit: int
    seed: int = 0
    _answer_tokens: int = 0
    _random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        """Seeds the random numbers."""
        self._random = np.random.default_rng(self.seed)

    def choose(self, logits: npt.NDArray[np.floating]) -> int:  # (V,)
        """Returns the id of the next token.

        >>> settings = Generation(stop_token_ids=(), suppress_token_ids=(1,))
        >>> TokenChooser(settings, np.array([0]), limit=9).choose(np.array([0.1, 2.0, 1.0]))
        2
        """
        _check_numbers(logits)
        scores = apply_penalties(logits, AnswerProgress(self.sequence, self._answer_tokens, self.limit), self.settings)
        token = self._sampled(scores) if self.settings.do_sample else int(np.argmax(scores))
        self.sequence = np.append(self.sequence, token)
        self._answer_tokens += 1
        return token

    def _sampled(self, scores: npt.NDArray[np.float32]) -> int:
        ids, probabilities = sampling_candidates(scores, self.settings)
        return int(self._random.choice(ids, p=probabilities))


def greedy(logits: npt.NDArray[np.floating]) -> int:  # (V,)
    """Returns the likeliest token, whatever a bundle's settings say."""
    _check_numbers(logits)
    return int(np.argmax(logits))


def sampling_candidates(
    scores: npt.NDArray[np.floating], settings: Generation
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:  # (V,) -> (M,), (M,)
    """Returns the tokens that may be sampled and their probabilities, likeliest first.

    >>> settings = Generation(stop_token_ids=(), top_p=0.6)
    >>> ids, probabilities = sampling_candidates(np.log([0.2, 0.5, 0.3]), settings)
    >>> ids.tolist(), probabilities.round(3).tolist()
    ([1, 2], [0.625, 0.375])
    """
    scaled = scores.astype(np.float64) / settings.temperature
    ids = np.argsort(-scaled, kind="stable")
    ids = ids[np.isfinite(scaled[ids])]
    if not ids.size:
        raise EngineError("tail", "the generation settings forbid every token")
    if settings.top_k:
        ids = ids[scaled[ids] >= scaled[ids[min(settings.top_k, ids.size) - 1]]]
    probabilities = _softmax(scaled[ids])
    if settings.top_p < 1:
        ids = ids[: int(np.searchsorted(np.cumsum(probabilities), settings.top_p)) + 1]
    probabilities = _softmax(scaled[ids])
    ids = ids[probabilities >= settings.min_p * probabilities[0]]
    return ids, _softmax(scaled[ids])


def _softmax(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the softmax of one or more values, of which the first is the largest."""
    powers = np.exp(values - values[0])
    probabilities: npt.NDArray[np.float64] = powers / powers.sum()
    return probabilities


def _check_numbers(logits: npt.NDArray[np.floating]) -> None:
    if np.isnan(logits).any():
        raise EngineError("tail", "the logits are not numbers")
