"""Accuracy is measured as `generate` would answer, and a killed measurement goes on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vlmprune_export.pocket_model import pocket_checkpoint
from vlmprune_runtime.errors import BadRequest, VlmPruneError
from vlmprune_tools.pocket.__main__ import main
from vlmprune_tools.pocket.accuracy import (
    HuggingFaceEvaluator,
    Prediction,
    QuestionSet,
    predict_all,
    score_families,
)
from vlmprune_tools.pocket.model import packed_tensors
from vlmprune_tools.scenes.scene import PlacedObject, Question, RenderedScene, Scene

QUESTIONS = [
    Question("colour", "What color is the background?", "blue"),
    Question("counting", "How many objects are there?", "one"),
    Question("presence", "Is there a dog?", "no"),
]


@pytest.mark.pocket
def test_answers_are_those_of_generate() -> None:
    """The shared prefix changes nothing."""
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    try:
        folder = pocket_checkpoint()
    except VlmPruneError as error:
        pytest.skip(f"needs the pocket model's packages: {error}")
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    evaluator = HuggingFaceEvaluator(model, AutoProcessor.from_pretrained(folder))
    noise = np.random.default_rng(0).integers(0, 60, (336, 336, 3))
    image = Image.fromarray((noise + np.array([0, 0, 180])).astype(np.uint8))
    predicted = [item.prediction for item in evaluator.predict(image, QUESTIONS)]
    want = []
    for _, question, _ in QUESTIONS:
        inputs = evaluator.encode(image, question)
        ids = model.generate(**inputs, max_new_tokens=6, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        want.append(evaluator.processor.decode(ids, skip_special_tokens=True).strip())
    assert predicted == want
    assert predicted[0] == "blue"


class FakeEvaluator:
    """Predicts the right answer to all questions but presence, and counts the images."""

    def __init__(self) -> None:
        """No image yet."""
        self.images = 0

    def predict(self, image: Image.Image, asked: list[Question]) -> list[Prediction]:
        """Always yes to presence."""
        self.images += 1
        return [Prediction(*item, "yes" if item[0] == "presence" else item[2]) for item in asked]


def render(split: str, index: int) -> RenderedScene:
    """A scene with nothing to see."""
    scene = Scene("one", (PlacedObject("dog", 0, 0, 50),), "red")
    return RenderedScene(scene, np.zeros((336, 336, 3), np.uint8), np.zeros(576, np.int8))


QUESTION_SET = QuestionSet(render, "dev", ["dog", "cat"])


def test_the_same_questions_in_other_words() -> None:
    """Answers stay, words change."""
    rendered = render("dev", 0)
    plain, other = QUESTION_SET.questions(0, rendered), replace(QUESTION_SET, paraphrased=True).questions(0, rendered)
    assert [item[2] for item in plain] == [item[2] for item in other]
    assert all(a[1] != b[1] for a, b in zip(plain, other, strict=True))


def test_a_killed_measurement_goes_on(tmp_path: Path) -> None:
    """Whole lines count, a torn last one is asked again."""
    log, fake = tmp_path / "log.jsonl", FakeEvaluator()
    whole = predict_all(fake, QUESTION_SET, range(4), log)  # type: ignore[arg-type]
    text = log.read_text()
    log.write_text(text[: text.rindex('"asked"')])
    again = predict_all(fake, QUESTION_SET, range(4), log)  # type: ignore[arg-type]
    assert again == whole
    assert fake.images == 5
    assert [json.loads(line)["index"] for line in log.read_text().splitlines()] == [0, 1, 2, 3]


def test_scores(tmp_path: Path) -> None:
    """Right over asked, with what always giving the most frequent answer would get."""
    asked = predict_all(FakeEvaluator(), QUESTION_SET, range(10), tmp_path / "log")  # type: ignore[arg-type]
    figures = score_families(asked)
    assert figures["naming"]["accuracy"] == 1.0
    assert figures["presence"] == {
        "right": 10,
        "asked": 20,
        "accuracy": 0.5,
        "interval": [0.2993, 0.7007],
        "most_frequent_answer": 0.5,
    }


def test_any_of_several_accepted_answers_is_right() -> None:
    """A photo may be named after anything that it shows."""
    asked = [
        Prediction("photo", "What is in the picture?", "cat|eye", predicted) for predicted in ("eye", "cat|eye", "ca")
    ]
    assert score_families(asked)["photo"]["right"] == 1


@pytest.mark.parametrize("step", ["train --mix hard=1", "tune", "smoke --out x"])
def test_a_step_of_training_says_where_it_moved(step: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(step.split()) == 2
    assert "see tools/pocket_training in the repository" in capsys.readouterr().err


def test_other_weights_must_be_weights(tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes(b"no weights")
    for path in (tmp_path / "missing", tmp_path / "mine.safetensors"):
        with pytest.raises(BadRequest, match=f"{path}: not a file of trained tensors"):
            packed_tensors(path)
