"""The next token."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vlmprune_runtime.errors import BadRequest, EngineError
from vlmprune_runtime.sampling import AS_EXPORTED, GREEDY, Sampling, TokenChooser, greedy, sampling_candidates
from vlmprune_runtime.schema import Generation

LOGITS = hnp.arrays(np.float32, st.integers(1, 30), elements=st.floats(-1e4, 1e4, width=16))
PLAIN = Generation(stop_token_ids=())
PROMPT = np.array([0])

WRONG = [("temperature", -1), ("temperature", float("nan")), ("temperature", float("inf")), ("seed", -1)]
WRONG += [("top_p", 0), ("top_p", 1.1), ("top_p", float("nan")), ("top_k", -1), ("min_p", 1.5)]
WRONG += [("repetition_penalty", 0), ("repetition_penalty", float("inf"))]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_ranges(name: str, value: float) -> None:
    with pytest.raises(BadRequest, match=name):
        Sampling(**{name: value})


@given(LOGITS, st.floats(0.01, 5), st.floats(0.01, 1))
def test_nucleus_is_the_smallest_that_reaches_top_p(logits: np.ndarray, temperature: float, top_p: float) -> None:
    ids, probabilities = sampling_candidates(
        logits, PLAIN.model_copy(update={"temperature": temperature, "top_p": top_p})
    )
    scaled = (logits.astype(float) - logits.max()) / temperature
    mass = np.exp(scaled) / np.exp(scaled).sum()
    assert len(set(ids)) == len(ids) >= 1
    assert probabilities.sum() == pytest.approx(1)
    assert mass[ids].sum() >= top_p - 1e-9
    assert len(ids) == 1 or mass[ids[:-1]].sum() < top_p + 1e-9
    assert mass[ids].min() >= np.delete(mass, ids).max(initial=0) - 1e-12


def chooser(settings: Generation, seed: int = 0) -> TokenChooser:
    return TokenChooser(settings, PROMPT, limit=9, seed=seed)


@given(LOGITS)
def test_greedy_and_tiny_top_p_are_the_same(logits: np.ndarray) -> None:
    drawn = PLAIN.model_copy(update={"do_sample": True, "top_p": 1e-9})
    assert chooser(PLAIN).choose(logits) == greedy(logits) == int(np.argmax(logits))
    assert logits[chooser(drawn).choose(logits)] == logits.max()


def test_draws_follow_the_chances_and_the_seed() -> None:
    logits, settings = np.log(np.array([0.7, 0.2, 0.1])), PLAIN.model_copy(update={"do_sample": True})
    draws, again = ([one.choose(logits) for _ in range(2000)] for one in (chooser(settings, 4), chooser(settings, 4)))
    assert draws == again
    assert np.bincount(draws) / 2000 == pytest.approx([0.7, 0.2, 0.1], abs=0.04)


def test_a_request_changes_only_what_it_names() -> None:
    own = Generation(stop_token_ids=(2,), do_sample=True, temperature=0.6, top_k=40, repetition_penalty=1.1)
    assert AS_EXPORTED.applied(own) == own
    assert GREEDY.applied(own) == own.model_copy(update={"do_sample": False})
    hot = Sampling(temperature=2.0, top_p=0.9, top_k=0, min_p=0.1, repetition_penalty=1.5).applied(own)
    assert (hot.do_sample, hot.temperature, hot.top_p, hot.top_k, hot.min_p) == (True, 2.0, 0.9, 0, 0.1)
    assert (hot.repetition_penalty, hot.stop_token_ids) == (1.5, (2,))


def test_broken_logits() -> None:
    with pytest.raises(EngineError, match="not numbers"):
        chooser(PLAIN).choose(np.array([0.0, np.nan]))


def test_settings_that_forbid_every_token() -> None:
    nothing = Generation(stop_token_ids=(), do_sample=True, suppress_token_ids=(0, 1))
    with pytest.raises(EngineError, match="forbid every token"):
        chooser(nothing).choose(np.array([0.0, 1.0]))
