"""The next token."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vlmprune_runtime.errors import BadRequest, EngineError
from vlmprune_runtime.sampling import GREEDY, Sampling, choose, nucleus

LOGITS = hnp.arrays(np.float32, st.integers(1, 30), elements=st.floats(-1e4, 1e4, width=16))


WRONG = [("temperature", -1), ("temperature", float("nan")), ("temperature", float("inf")), ("seed", -1)]
WRONG += [("top_p", 0), ("top_p", 1.1), ("top_p", float("nan"))]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_ranges(name: str, value: float) -> None:
    with pytest.raises(BadRequest, match=name):
        Sampling(**{name: value})


@given(LOGITS, st.floats(0.01, 5), st.floats(0.01, 1))
def test_nucleus_is_the_smallest_that_reaches_top_p(logits: np.ndarray, temperature: float, top_p: float) -> None:
    ids, chances = nucleus(logits, Sampling(temperature, top_p))
    scaled = (logits.astype(float) - logits.max()) / temperature
    mass = np.exp(scaled) / np.exp(scaled).sum()
    assert len(set(ids)) == len(ids) >= 1
    assert chances.sum() == pytest.approx(1)
    assert mass[ids].sum() >= top_p - 1e-9
    assert len(ids) == 1 or mass[ids[:-1]].sum() < top_p + 1e-9
    assert mass[ids].min() >= np.delete(mass, ids).max(initial=0) - 1e-12


@given(LOGITS)
def test_greedy_and_tiny_top_p_are_the_same(logits: np.ndarray) -> None:
    dice = np.random.default_rng(0)
    assert choose(logits, GREEDY, dice) == int(np.argmax(logits))
    assert logits[choose(logits, Sampling(1.0, 1e-9), dice)] == logits.max()


def test_draws_follow_the_chances_and_the_seed() -> None:
    logits, sampling = np.log(np.array([0.7, 0.2, 0.1])), Sampling(temperature=1.0)
    draws = [choose(logits, sampling, dice) for dice in [np.random.default_rng(4)] for _ in range(2000)]
    again = [choose(logits, sampling, dice) for dice in [np.random.default_rng(4)] for _ in range(2000)]
    assert draws == again
    assert np.bincount(draws) / 2000 == pytest.approx([0.7, 0.2, 0.1], abs=0.04)


def test_broken_logits() -> None:
    with pytest.raises(EngineError, match="not numbers"):
        choose(np.array([0.0, np.nan]), GREEDY, np.random.default_rng(0))
