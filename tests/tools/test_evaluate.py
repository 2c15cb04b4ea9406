"""Accuracy is measured as `generate` would answer, and a killed measurement goes on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vlmprune_export.pocket import pocket_checkpoint
from vlmprune_runtime.errors import VlmPruneError
from vlmprune_tools.pocket.__main__ import main
from vlmprune_tools.pocket.evaluate import Asked, Examiner, Sheet, examine, score
from vlmprune_tools.pocket.questions import Question
from vlmprune_tools.pocket.scenes import Drawn, Placed, Scene

QUESTIONS: list[Question] = [
    ("colour", "What color is the background?", "blue"),
    ("counting", "How many objects are there?", "one"),
    ("presence", "Is there a dog?", "no"),
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
    examiner = Examiner(model, AutoProcessor.from_pretrained(folder))
    noise = np.random.default_rng(0).integers(0, 60, (336, 336, 3))
    image = Image.fromarray((noise + np.array([0, 0, 180])).astype(np.uint8))
    said = [item.said for item in examiner.ask(image, QUESTIONS)]
    want = []
    for _, question, _ in QUESTIONS:
        inputs = examiner.encode(image, question)
        ids = model.generate(**inputs, max_new_tokens=6, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        want.append(examiner.processor.decode(ids, skip_special_tokens=True).strip())
    assert said == want
    assert said[0] == "blue"


class Parrot:
    """An examiner that says the right answer to all but presence, and counts how often it is asked."""

    def __init__(self) -> None:
        """Nothing asked yet."""
        self.pictures = 0

    def ask(self, image: Image.Image, asked: list[Question]) -> list[Asked]:
        """Always yes to presence."""
        self.pictures += 1
        return [Asked(*item, "yes" if item[0] == "presence" else item[2]) for item in asked]


def draw(split: str, index: int) -> Drawn:
    """A scene with nothing to see."""
    scene = Scene("one", (Placed("dog", 0, 0, 50),), "red")
    return Drawn(scene, np.zeros((336, 336, 3), np.uint8), np.zeros(576, np.int8))


SHEET = Sheet(draw, "dev", ["dog", "cat"])


def test_the_same_questions_in_other_words() -> None:
    """Answers stay, words change."""
    drawn = draw("dev", 0)
    plain, other = SHEET.questions(0, drawn), replace(SHEET, reworded=True).questions(0, drawn)
    assert [item[2] for item in plain] == [item[2] for item in other]
    assert all(a[1] != b[1] for a, b in zip(plain, other, strict=True))


def test_a_killed_measurement_goes_on(tmp_path: Path) -> None:
    """Whole lines count, a torn last one is asked again."""
    log, parrot = tmp_path / "log.jsonl", Parrot()
    whole = examine(parrot, SHEET, range(4), log)  # type: ignore[arg-type]
    text = log.read_text()
    log.write_text(text[: text.rindex('"asked"')])
    again = examine(parrot, SHEET, range(4), log)  # type: ignore[arg-type]
    assert again == whole
    assert parrot.pictures == 5
    assert [json.loads(line)["index"] for line in log.read_text().splitlines()] == [0, 1, 2, 3]


def test_scores(tmp_path: Path) -> None:
    """Right over asked, with what always giving the most frequent answer would get."""
    asked = examine(Parrot(), SHEET, range(10), tmp_path / "log")  # type: ignore[arg-type]
    figures = score(asked)
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
    asked = [Asked("photo", "What is in the picture?", "cat|eye", said) for said in ("eye", "cat|eye", "ca")]
    assert score(asked)["photo"]["right"] == 1


def test_a_bad_request_is_one_line(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    """Training without features says which step is missing."""
    monkeypatch.setenv("VLMPRUNE_CACHE", str(tmp_path))
    from vlmprune_tools.pocket import loading

    with pytest.raises(VlmPruneError, match="run the step: features drill"):
        loading.groups_of("drill=2")
    with pytest.raises(VlmPruneError, match="facebook is not trained on"):
        loading.training_sources("drill=2", ["google", "facebook"])
    assert main(["pack", str(tmp_path), "--out", str(tmp_path / "x.safetensors")]) == 2
    assert "no checkpoint" in capsys.readouterr().err
