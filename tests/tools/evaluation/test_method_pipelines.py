"""Every method runs in a pipeline of its own: as its exported stages would, at the mean that is compared."""

from dataclasses import replace
from pathlib import Path

import pytest
from asked import QUESTIONS

from vlmprune_export.cuts import PruneOptions, mean_of_options
from vlmprune_export.pruners import PRUNERS
from vlmprune_export.pruners.resize import RESIZE
from vlmprune_runtime.image_loading import load_image
from vlmprune_runtime.prefill import prefill
from vlmprune_runtime.question import ask
from vlmprune_tools.evaluation import EvaluationRequest, evaluate
from vlmprune_tools.evaluation.dataset import DatasetOptions
from vlmprune_tools.evaluation.evaluator import Evaluator
from vlmprune_tools.evaluation.loaded_model import LoadedModel, load_model
from vlmprune_tools.evaluation.method_pipeline import (
    SharedVision,
    equal_mean_keep,
    family_of,
    mean_of_keep,
    method_pipeline,
)
from vlmprune_tools.evaluation.pruning_config import build_configs
from vlmprune_tools.evaluation.variants import parse_variant

METHODS = [name for name in (*PRUNERS, RESIZE) if name != "cdpruner"]  # that one needs CLIP's text tower


@pytest.mark.parametrize("name", METHODS)
def test_a_method_answers_as_a_whole_prompt_without_sharing(
    name: str, in_pytorch: LoadedModel, asked_folder: Path
) -> None:
    """What is shared between questions and methods changes no logit."""
    image = load_image(asked_folder / "0.png")
    shared = SharedVision(family_of(in_pytorch), {"tower_hidden", "tower_attention"})
    pipeline = method_pipeline(in_pytorch, PruneOptions(name, keep=9), shared)
    own, fresh = pipeline.model, method_pipeline(in_pytorch, PruneOptions(name, keep=9), shared).model
    for question in QUESTIONS[:2]:
        seen = pipeline.see(Evaluator(in_pytorch, 1).see(image), image)
        prompt = Evaluator(own, 1).encode_question(question, [seen.place])
        state = pipeline.prefill(prompt, [seen])
        whole = ask(fresh.pipeline, fresh.image, (fresh.tokenizer, fresh.prompt), question, [image])
        alone = prefill(fresh.pipeline, fresh.engine, whole.prompt, whole.pixels)
        assert state.logits == pytest.approx(alone.logits, abs=1e-4)
        assert state.past_tokens == alone.past_tokens
        assert [list(kept.cells) for kept in state.selections] == [list(kept.cells) for kept in alone.selections]


def test_a_image_is_run_again_once_the_caches_hold_another(in_pytorch: LoadedModel, asked_folder: Path) -> None:
    """A prompt without text behind its image takes the caches too, and shares nothing."""
    pipeline = method_pipeline(in_pytorch, PruneOptions("divprune", keep=9), SharedVision(family_of(in_pytorch)))
    evaluator = Evaluator(pipeline.model, 1)
    one, other = (evaluator.see(load_image(asked_folder / name)) for name in ("0.png", "1.png"))
    prompt = evaluator.encode_question(QUESTIONS[0], [one.place])
    assert not pipeline.reads_text
    first = pipeline.prefill(prompt, [one]).logits
    pipeline.prefill(replace(prompt, token_ids=prompt.token_ids[: prompt.spans[-1].stop]), [other])
    assert pipeline.prefill(prompt, [one]).logits == pytest.approx(first, abs=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_the_mean_is_that_of_the_pipeline(name: str, in_pytorch: LoadedModel) -> None:
    family, vision = family_of(in_pytorch), SharedVision(family_of(in_pytorch))
    for keep in (5, 20):
        grid = method_pipeline(in_pytorch, PruneOptions(name, keep=keep), vision).grid
        assert mean_of_keep(family, PruneOptions(name, keep=keep)) == pytest.approx(grid.mean_visual_tokens, abs=1e-3)


def test_methods_are_compared_at_equal_mean(in_pytorch: LoadedModel) -> None:
    """Before layer 2 of 4, 49 tokens become 9: 29 on average, which a cut at the input keeps from the start."""
    family = family_of(in_pytorch)
    assert mean_of_options(family, PruneOptions("vlm-pruner", keep=9)) == 29
    configs = build_configs(in_pytorch, [parse_variant(name) for name in ("vlm-pruner", "divprune", RESIZE)], [9])
    assert [config.kept_tokens for config in configs] == [None, 9, 29, 25]
    assert {config.keep for config in configs[1:]} == {9}


def test_a_mean_that_is_not_to_be_had_is_named(asked_checkpoint: Path, asked_folder: Path) -> None:
    """SAINT before layer 3 of 4 sees 36.75 tokens at least, so it keeps K and a note says what its mean is."""
    request = EvaluationRequest(
        str(asked_checkpoint), str(asked_folder / "asked.csv"), DatasetOptions(1), keeps=(8,),
        pruners=("vlm-pruner", "saint"), settings={}, max_tokens=2,
    )  # fmt: skip
    model = load_model(str(asked_checkpoint), None, None, lambda line: None)
    late = PruneOptions("saint", layer=3)
    assert equal_mean_keep(family_of(model), late, 8, 28.5) == 8
    record = evaluate(request)
    assert [(row["method"], row["kept_tokens"]) for row in record["methods"]][1] == ("vlm-pruner", 8)
    assert {row["against"] for row in record["differences"]} == {"vlm-pruner"}


def test_a_language_model_in_bfloat16(asked_checkpoint: Path, asked_folder: Path) -> None:
    """Its logits differ by rounding; what pruners read is fp32."""
    image, states = load_image(asked_folder / "0.png"), []
    for dtype in ("float32", "bfloat16"):
        model = load_model(str(asked_checkpoint), None, None, lambda line: None, dtype)
        pipeline = method_pipeline(model, PruneOptions("nuwa", keep=9), SharedVision(family_of(model)))
        seen = pipeline.see(Evaluator(model, 1).see(image), image)
        states.append(pipeline.prefill(Evaluator(model, 1).encode_question(QUESTIONS[0], [seen.place]), [seen]))
    whole, rounded = (state.logits for state in states)
    assert whole.dtype == rounded.dtype == "float32"
    assert 0 < abs(whole - rounded).max() < 0.2 * abs(whole).max()
