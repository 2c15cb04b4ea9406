"""Answers are those the runtime generates, however many configs share one prompt."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from asked import QUESTIONS

from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.generate import Request, open_runner
from vlmprune_runtime.image_loading import load_image
from vlmprune_tools.evaluation.dataset import DatasetOptions, Item
from vlmprune_tools.evaluation.datasets import open_dataset
from vlmprune_tools.evaluation.evaluation_loop import mean_image, run_evaluation_loop
from vlmprune_tools.evaluation.evaluator import Evaluator
from vlmprune_tools.evaluation.loaded_model import LoadedModel, load_model
from vlmprune_tools.evaluation.prediction_log import PredictionLog
from vlmprune_tools.evaluation.pruning_config import PruningConfig, build_configs, run_exported_pruner
from vlmprune_tools.evaluation.variants import parse_variant

TOKENS = 6


def configs(model: LoadedModel, *keeps: int) -> list[PruningConfig]:
    return build_configs(model, [parse_variant(name) for name in ("vlm-pruner", "random", "uniform")], keeps)


def answers(model: LoadedModel, image: Path, question: str, chosen: list[PruningConfig]) -> dict[str, str]:
    evaluator = Evaluator(model, TOKENS)
    predicted = evaluator.predict([evaluator.encode_image(load_image(image))], question, chosen)
    return {name: one.text for name, one in predicted.items()}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_bundle_answers_as_its_runner(
    in_onnx: LoadedModel, asked_bundle: Path, asked_folder: Path, question: str
) -> None:
    predicted = answers(in_onnx, asked_folder / "0.png", question, configs(in_onnx, 30, 8))
    runner = open_runner(asked_bundle)
    for prune, name in ((True, "vlm-pruner@8"), (False, "unpruned@49")):
        request = Request(asked_folder / "0.png", question, prune=prune, max_tokens=TOKENS)
        assert predicted[name] == runner.answer(request).text.strip()
    assert len(set(predicted.values())) > 1, "pruning changes nothing, so this shows nothing"


def test_pytorch_and_bundle_answer_alike(in_onnx: LoadedModel, in_pytorch: LoadedModel, asked_folder: Path) -> None:
    for question in QUESTIONS:
        predicted = [
            answers(one, asked_folder / "1.png", question, configs(one, 20, 8)) for one in (in_onnx, in_pytorch)
        ]
        assert predicted[0] == predicted[1]


def test_only_the_bundles_own_pruner_runs_in_its_graph(in_onnx: LoadedModel, in_pytorch: LoadedModel) -> None:
    inside = {config.name for config in configs(in_onnx, 20, 8) if config.pruned_in == "onnx"}
    assert inside == {"vlm-pruner@8"}
    assert {config.pruned_in for config in configs(in_pytorch, 20, 8)} == {None, "pytorch"}
    (changed,) = (
        config for config in build_configs(in_onnx, [parse_variant("vlm-pruner:batch=1")], [8]) if config.keep == 8
    )
    assert changed.pruned_in == "pytorch"


@pytest.mark.parametrize("engine", ["onnx", "pytorch"])
def test_a_way_does_not_see_what_was_said_before(
    engine: str, in_onnx: LoadedModel, in_pytorch: LoadedModel, asked_folder: Path
) -> None:
    model = in_onnx if engine == "onnx" else in_pytorch
    chosen = configs(model, 20, 3)
    together = answers(model, asked_folder / "2.png", QUESTIONS[0], chosen)
    assert together == answers(model, asked_folder / "2.png", QUESTIONS[0], chosen[::-1])
    for config in chosen:
        assert answers(model, asked_folder / "2.png", QUESTIONS[0], [config])[config.name] == together[config.name]


class CountingEngine:
    """Counts the stages, and prompts apart from single tokens."""

    def __init__(self, engine):
        self.engine, self.runs = engine, Counter()

    def run(self, stage, inputs):
        rows = len(next(iter(inputs.values())))
        self.runs[stage if rows > 1 or stage == "vision" else f"{stage}, decode"] += 1
        return self.engine.run(stage, inputs)


def test_what_is_shared_runs_once(in_onnx: LoadedModel, asked_folder: Path) -> None:
    engine = CountingEngine(in_onnx.engine)
    model = replace(in_onnx, engine=engine)
    data = open_dataset(str(asked_folder / "asked.csv"), DatasetOptions())
    run_evaluation_loop(Evaluator(model, 2), data, configs(model, 20, 8), PredictionLog())
    assert engine.runs["vision"] == 4
    assert engine.runs["head"] == engine.runs["embed"] == 12
    assert engine.runs["tail"] == 12 * 7
    assert engine.runs["prune"] == 12  # the bundle's own; the other five configs in PyTorch


def test_the_mean_image_is_the_mean(in_onnx: LoadedModel, asked_folder: Path) -> None:
    data, evaluator = open_dataset(str(asked_folder / "asked.csv"), DatasetOptions()), Evaluator(in_onnx, 2)
    seen = [evaluator.see(load_image(asked_folder / f"{index}.png")) for index in range(4)]
    [mean] = mean_image(evaluator, data).views
    assert mean.pixels == pytest.approx(sum(image.views[0].pixels for image in seen) / 4, abs=1e-6)


GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize("prune", [True, False])
def test_several_images_of_a_row_are_asked_about_as_the_runner_does(prune: bool, tmp_path: Path) -> None:
    names = ["first.png", "second.png"]
    (tmp_path / "q.jsonl").write_text(json.dumps({"image": names, "text": "why?", "answer": "x"}) + "\n")
    data = open_dataset(str(tmp_path / "q.jsonl"), DatasetOptions(images=GOLDEN / "two_pictures"))
    config = PruningConfig("own", 6, run_exported_pruner if prune else None)
    model, log = load_model(str(GOLDEN / "bundle_two_pictures"), None, None, lambda line: None), PredictionLog()
    run_evaluation_loop(Evaluator(model, 6), data, [config], log)
    images = [GOLDEN / "two_pictures" / name for name in names]
    expected = open_runner(GOLDEN / "bundle_two_pictures").answer(Request(images, "why?", prune, 6))
    assert log.predictions[data.items[0].key] == {"own@6": expected.text.strip()}


def test_a_row_with_a_image_too_many_is_named(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("image,question,answer\nfirst.png|second.png|first.png,why?,x\n")
    model = load_model(str(GOLDEN / "bundle_two_pictures"), None, None, lambda line: None)
    data = open_dataset(str(tmp_path / "q.csv"), DatasetOptions(images=GOLDEN / "two_pictures"))
    with pytest.raises(BadRequest, match=r"q.csv:2: got 3 images; allowed: 1 to 2"):
        run_evaluation_loop(Evaluator(model, 2), data, [PruningConfig("unpruned", 15)], PredictionLog())


def test_a_question_that_is_too_long_is_named(in_onnx: LoadedModel, asked_folder: Path) -> None:
    data = open_dataset(str(asked_folder / "asked.csv"), DatasetOptions(1))
    (item,) = data.items
    long = replace(data, items=(replace(item, question="dog " * 60),))
    with pytest.raises(BadRequest, match=r"asked.csv:2: the prompt takes \d+ tokens .*, the context has 96"):
        run_evaluation_loop(Evaluator(in_onnx, 2), long, configs(in_onnx, 8), PredictionLog())


def test_a_broken_image_is_named(in_onnx: LoadedModel, asked_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes((asked_folder / "0.png").read_bytes()[:200])
    (tmp_path / "q.csv").write_text("image,question,answer\nbroken.png,what ?,a\n")
    with pytest.raises(BadRequest, match=r"q.csv:2: image .*broken.png: broken image"):
        run_evaluation_loop(
            Evaluator(in_onnx, 2),
            open_dataset(str(tmp_path / "q.csv"), DatasetOptions()),
            configs(in_onnx, 8),
            PredictionLog(),
        )


def test_keep_n_is_the_unpruned_model(in_onnx: LoadedModel) -> None:
    assert [config.name for config in configs(in_onnx, 8, 49, 8)] == [
        "unpruned@49",
        "vlm-pruner@8",
        "random@8",
        "uniform@8",
    ]
    assert [config.keep for config in configs(in_onnx)] == [49, *[16] * 3, *[11] * 3, *[5] * 3]


@pytest.mark.parametrize(
    ("pruner", "message"),
    [
        ("nuwa", "the method has 2 cuts; allowed: the bundle's own pruner, or one cut"),
        ("visionzip", "cuts after the vision stage, the bundle does not; give the checkpoint"),
        ("saint:place=tower", "cuts after the vision stage, the bundle does not; give the checkpoint"),
        ("dart", "uses weights that a bundle has in its graphs only; give the checkpoint"),
    ],
)
def test_a_method_that_stands_elsewhere_is_refused_on_a_bundle(in_onnx: LoadedModel, pruner: str, message: str) -> None:
    with pytest.raises(BadRequest, match=f"^{pruner}: {message}"):
        build_configs(in_onnx, [parse_variant(pruner)], [8])


def test_a_bundles_layer_is_fixed(asked_bundle: Path) -> None:
    with pytest.raises(BadRequest, match="layer: got 1; allowed: 2"):
        load_model(str(asked_bundle), 1, None, lambda line: None)


def test_keys_tell_images_and_questions_apart() -> None:
    keys = {Item(*pair, ("x",), "t", "exact", "p").key for pair in (("a", "b"), ("a", "c"), ("b", "b"), ("ab", ""))}
    assert len(keys) == 4
