"""The model for lmms-eval, against a stand-in of that harness's interface; lmms-eval itself is not run here.

By hand it was, 0.7.3 on a task of 36 questions (CHANGELOG): the harness brings too much to be installed for a test.
"""

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from asked import QUESTIONS
from PIL import Image

from vlmprune_export.torch_engine import TorchEngine
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.image_loading import load_image
from vlmprune_tools.evaluation.device import on_device
from vlmprune_tools.evaluation.evaluator import Evaluator, Prediction
from vlmprune_tools.evaluation.loaded_model import LoadedModel
from vlmprune_tools.evaluation.pruning_config import build_configs
from vlmprune_tools.evaluation.variants import parse_variant


class StandIn:
    """What lmms-eval's base class does for its models."""

    def __init__(self) -> None:
        self._rank, self._world_size, self.task_dict = 0, 1, {}

    @classmethod
    def create_from_arg_string(cls, text: str, additional_config: dict[str, Any]) -> "StandIn":
        def value(shown: str) -> Any:
            return int(shown) if shown.isdigit() else shown

        pairs = (pair.split("=") for pair in text.split(","))
        given = {name: value(shown) for name, shown in pairs}
        return cls(**given, **{name: more for name, more in additional_config.items() if more is not None})


@dataclass(frozen=True)
class ModelManifest:
    """What lmms-eval wants to know of a model."""

    model_id: str
    simple_class_path: str


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Any]]:
    """The model class as lmms-eval finds it: an entry point tells the model's name and where its class is."""
    modules = {f"lmms_eval{name}": ModuleType(name) for name in ("", ".api", ".api.model", ".models")}
    modules["lmms_eval.models.registry_v2"] = ModuleType("registry_v2")
    modules["lmms_eval.api.model"].lmms = StandIn  # type: ignore[attr-defined]
    modules["lmms_eval.models.registry_v2"].ModelManifest = ModelManifest  # type: ignore[attr-defined]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "vlmprune_tools.evaluation.lmms", raising=False)
    (entry_point,) = entry_points(group="lmms_eval.models", name="vlmprune")
    manifest = entry_point.load()()
    assert manifest.model_id == "vlmprune"
    module_name, _, class_name = manifest.simple_class_path.rpartition(".")
    yield getattr(importlib.import_module(module_name), class_name)
    sys.modules.pop("vlmprune_tools.evaluation.lmms", None)


def instance(context: str, options: dict[str, Any], images: list[Image.Image]) -> SimpleNamespace:
    return SimpleNamespace(args=(context, options, lambda document: document["pictures"], 0, "task", "test"))


def model(harness: type[Any], checkpoint: Path, images: list[Image.Image], more: str = "") -> Any:
    loaded = harness.create_from_arg_string(f"pretrained={checkpoint}{more}", {"batch_size": 1, "device": None})
    loaded.task_dict["task"] = {"test": [{"pictures": images}]}
    return loaded


def texts(predicted: dict[str, Prediction]) -> dict[str, str]:
    return {name: one.text for name, one in predicted.items()}


def test_it_answers_as_we_do(
    harness: type[Any], asked_checkpoint: Path, asked_folder: Path, in_pytorch: LoadedModel
) -> None:
    assert issubclass(harness, StandIn)
    image = load_image(asked_folder / "0.png")
    evaluator = Evaluator(in_pytorch, 5)
    visual = [evaluator.encode_image(image)]
    configs = build_configs(in_pytorch, [parse_variant("vlm-pruner:batch=2")], [3])
    expected = texts(evaluator.predict(visual, QUESTIONS[0], configs))
    assert len(set(expected.values())) == 2
    requests = [instance(f"<image>\n{QUESTIONS[0]}", {"max_new_tokens": 5}, [image])]
    pruned = model(harness, asked_checkpoint, [image], ",keep=3,batch=2")
    whole = model(harness, asked_checkpoint, [image])
    assert pruned.generate_until(requests) == [expected["vlm-pruner:batch=2@3"]]
    assert whole.generate_until(requests) == [expected["unpruned@49"]]
    assert (pruned.rank, pruned.world_size) == (0, 1)
    stop = expected["unpruned@49"].split()[1]
    stopped = instance(QUESTIONS[0], {"max_new_tokens": 5, "until": [stop]}, [image])
    assert whole.generate_until([stopped]) == [expected["unpruned@49"].split(stop)[0].strip()]


def test_several_images_stand_in_their_order(
    harness: type[Any], asked_checkpoint: Path, asked_folder: Path, in_pytorch: LoadedModel
) -> None:
    images = [load_image(asked_folder / f"{index}.png") for index in (0, 1)]
    evaluator, text = Evaluator(in_pytorch, 5), f"<image> <image>\n{QUESTIONS[1]}"
    configs = build_configs(in_pytorch, [parse_variant("vlm-pruner")], [3])
    answers = []
    for order in (images, images[::-1]):
        seen = [evaluator.encode_image(image) for image in order]
        expected = texts(evaluator.predict(seen, QUESTIONS[1], configs))
        pruned = model(harness, asked_checkpoint, order, ",keep=3")
        assert pruned.generate_until([instance(text, {"max_new_tokens": 5}, order)]) == [expected["vlm-pruner@3"]]
        answers.append(expected)
    assert answers[0] != answers[1]


def test_what_it_cannot_do_is_said(harness: type[Any], asked_checkpoint: Path, asked_folder: Path) -> None:
    image = load_image(asked_folder / "0.png")
    loaded = model(harness, asked_checkpoint, [image, image])
    loaded.task_dict["task"]["test"][0]["pictures"] = [image] * 6
    with pytest.raises(BadRequest, match=r"task 'task', document 0: the prompt takes \d+ tokens with its 6 images"):
        loaded.generate_until([instance("what ?", {}, [])])
    with pytest.raises(BadRequest, match="likelihoods are not supported"):
        loaded.loglikelihood([])
    with pytest.raises(BadRequest, match="several rounds"):
        loaded.generate_until_multi_round([])
    with pytest.raises(BadRequest, match="batch_size: got 4; allowed: 1"):
        harness(str(asked_checkpoint), batch_size=4)
    with pytest.raises(BadRequest, match="no setting 'pivot'"):
        harness(str(asked_checkpoint), keep=8, pivot=1)


def test_a_moved_model_is_the_same_model(in_pytorch: LoadedModel, asked_folder: Path) -> None:
    """On the one device there is here."""
    assert isinstance(in_pytorch.engine, TorchEngine)
    moved = replace(in_pytorch, engine=TorchEngine(in_pytorch.engine.staged, torch.device("cpu")))
    image = load_image(asked_folder / "0.png")
    predicted = []
    for model in (in_pytorch, moved):
        evaluator = Evaluator(model, 5)
        configs = build_configs(model, [parse_variant("vlm-pruner")], [8])
        predicted.append(evaluator.predict([evaluator.encode_image(image)], QUESTIONS[1], configs))
    assert predicted[0] == predicted[1]


def test_a_device_that_is_not_there_is_refused(in_pytorch: LoadedModel) -> None:
    assert on_device(in_pytorch, "cpu") is in_pytorch
    with pytest.raises(BadRequest, match="device 'abacus' cannot be used"):
        on_device(in_pytorch, "abacus")
