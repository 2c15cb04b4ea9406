"""Generation settings of a checkpoint: the same tokens as Hugging Face's `generate`, and the same distribution."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tiny import IMAGE_TOKEN_ID, tiny_llava
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.families import build_family
from vlmprune_export.processor import generation_settings
from vlmprune_export.staged_model import StagedModel
from vlmprune_export.torch_engine import TorchEngine
from vlmprune_runtime.decode import decode
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.penalties import AnswerProgress, apply_penalties
from vlmprune_runtime.prefill import prefill
from vlmprune_runtime.prompt import expand_image_tokens
from vlmprune_runtime.sampling import GREEDY, TokenChooser, sampling_candidates
from vlmprune_runtime.schema import Generation

PROMPT = expand_image_tokens(np.array([1, 22, 23, IMAGE_TOKEN_ID, 4, 5, 6, 9, 5, 6, 24]), IMAGE_TOKEN_ID, [49])
PIXELS = torch.rand(1, 3, 56, 56, generator=torch.Generator().manual_seed(3))
PROMPT_TOKENS = len(PROMPT.token_ids)
# What the model says without any of them is in `test_settings_change_the_answer`.
GREEDY_CASES: dict[str, dict[str, Any]] = {
    "repetition": {"repetition_penalty": 1.7},
    "repetition rewarded": {"repetition_penalty": 0.4},
    "bigrams": {"no_repeat_ngram_size": 2},
    "unigrams": {"no_repeat_ngram_size": 1},
    "suppressed": {"suppress_tokens": [*range(30, 80), 5000]},
    "suppressed at the beginning": {"begin_suppress_tokens": list(range(4, 90))},
    "bad words": {"bad_words_ids": [[token] for token in range(2, 60)] + [[61, 62], [70, 71, 72], [24, 80]]},
    "new tokens at least": {"min_new_tokens": 9, "eos_token_id": list(range(50, 96))},
    "length at least": {"min_length": PROMPT_TOKENS + 4, "eos_token_id": list(range(96))},
    "both lengths": {"min_length": 900, "min_new_tokens": 2, "eos_token_id": list(range(96))},
    "forced end": {"forced_eos_token_id": 7, "max_new_tokens": 6},
    "forced ends of a length": {"forced_eos_token_id": [9, 8], "max_length": PROMPT_TOKENS + 5},
    "several": {
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 3,
        "bad_words_ids": [[40], [2]],
        "min_new_tokens": 5,
    },
}
DRAWN_CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "temperature": {"temperature": 0.3},
    "top_k": {"top_k": 5, "temperature": 1.8},
    "top_p": {"top_p": 0.55, "top_k": 0},
    "min_p": {"min_p": 0.4, "top_k": 0, "temperature": 0.7},
    "all": {"top_k": 20, "top_p": 0.8, "min_p": 0.05, "temperature": 0.9, "repetition_penalty": 1.4},
}


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    return TorchEngine(StagedModel(build_family(tiny_llava()), PruneOptions("grid", 2, 49)))


def model_with(**settings: Any) -> Any:
    model = tiny_llava()
    model.generation_config.update(**({"max_new_tokens": 12} if "max_length" not in settings else {}) | settings)
    return model


def generated(model: Any, **more: Any) -> Any:
    ids = torch.from_numpy(PROMPT.token_ids)[None]
    return model.generate(input_ids=ids, pixel_values=PIXELS, pad_token_id=0, **more)


def answer(engine: TorchEngine, settings: Generation) -> list[int]:
    chooser = TokenChooser(settings, PROMPT.token_ids, settings.limit(PROMPT_TOKENS, otherwise=12))
    state, tokens = prefill(engine.staged.pipeline, engine, PROMPT, [PIXELS.numpy()], prune=False), []
    while len(tokens) < chooser.limit:
        tokens.append(chooser.choose(state.logits))
        if tokens[-1] in settings.stop_token_ids:
            break
        state = decode(engine.staged.pipeline, engine, tokens[-1], state)
    return tokens


@pytest.mark.parametrize("case", GREEDY_CASES)
def test_greedy_answers_are_those_of_generate(engine: TorchEngine, case: str) -> None:
    model = model_with(**GREEDY_CASES[case])
    expected = generated(model)[0, PROMPT_TOKENS:].tolist()
    assert answer(engine, generation_settings(model)) == expected


@pytest.mark.parametrize("case", GREEDY_CASES)
def test_settings_change_the_answer(engine: TorchEngine, case: str) -> None:
    """Or the test above would say nothing about them."""
    settings = generation_settings(model_with(**GREEDY_CASES[case]))
    idle = Generation(stop_token_ids=settings.stop_token_ids, max_new_tokens=settings.max_new_tokens)
    assert answer(engine, settings) != answer(engine, idle)


@pytest.mark.parametrize("case", DRAWN_CASES)
def test_tokens_are_drawn_from_the_same_distribution(engine: TorchEngine, case: str) -> None:
    model = model_with(do_sample=True, **DRAWN_CASES[case])
    out = generated(model, max_new_tokens=1, output_scores=True, return_dict_in_generate=True)
    expected = torch.softmax(out.scores[0][0], dim=0).numpy()
    settings = generation_settings(model)
    logits = prefill(engine.staged.pipeline, engine, PROMPT, [PIXELS.numpy()], prune=False).logits
    scores = apply_penalties(logits, AnswerProgress(PROMPT.token_ids, 0, 12), settings)
    ids, probabilities = sampling_candidates(scores, settings)
    assert set(ids.tolist()) == set(np.flatnonzero(expected).tolist())
    assert probabilities == pytest.approx(expected[ids], abs=1e-4)


def test_a_request_for_greedy_tokens_keeps_the_penalties() -> None:
    settings = generation_settings(model_with(do_sample=True, repetition_penalty=1.2))
    assert GREEDY.applied(settings).repetition_penalty == 1.2
    assert not GREEDY.applied(settings).do_sample


def test_what_is_left_out_is_said_in_one_line() -> None:
    said: list[str] = []
    generation_settings(model_with(num_beams=4, stop_strings=["\n"], typical_p=0.5), said.append)
    assert said == [
        "warning: generation settings of the checkpoint that runners do not follow: num_beams 4, stop_strings ['\\n']"
    ]
    generation_settings(model_with(do_sample=True, typical_p=0.5), said.append)
    assert said[1].endswith("runners do not follow: typical_p 0.5")


def test_defaults_are_followed_without_a_word() -> None:
    assert generation_settings(tiny_llava(), pytest.fail).stop_token_ids == (2,)


def test_stop_tokens_may_be_several_or_missing() -> None:
    def named(ids: Any) -> Any:
        nothing = SimpleNamespace(eos_token_id=None)
        config = SimpleNamespace(eos_token_id=None, text_config=nothing)
        return SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=ids), config=config)

    assert generation_settings(named([2, 7])).stop_token_ids == (2, 7)
    with pytest.raises(BadRequest, match="eos_token_id"):
        generation_settings(named(None))


def test_zeros_of_a_greedy_checkpoint_do_not_matter() -> None:
    model = tiny_llava()
    model.generation_config.temperature = model.generation_config.top_p = 0.0
    assert generation_settings(model).temperature == 1.0
    model.generation_config.do_sample = True
    with pytest.raises(BadRequest, match=r"generation_config\.json: temperature: .* greater than 0, got 0\.0"):
        generation_settings(model)
