"""Answers are those the runtime generates, however many ways share one prompt."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from asked import QUESTIONS

from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.generate import Request, open_runner
from vlmprune_runtime.picture import load_image
from vlmprune_tools.evaluation.asking import Asker
from vlmprune_tools.evaluation.data import open_data
from vlmprune_tools.evaluation.interview import ask_all, mean_pixels
from vlmprune_tools.evaluation.items import Item, Wishes
from vlmprune_tools.evaluation.journal import Journal
from vlmprune_tools.evaluation.subject import Subject, open_subject
from vlmprune_tools.evaluation.variants import variant
from vlmprune_tools.evaluation.ways import Way, ways_of

TOKENS = 6


def ways(subject: Subject, *keeps: int) -> list[Way]:
    return ways_of(subject, [variant(name) for name in ("vlm-pruner", "random", "grid")], keeps)


def answers(subject: Subject, picture: Path, question: str, chosen: list[Way]) -> dict[str, str]:
    asker = Asker(subject, TOKENS)
    return asker.answers(asker.visual(asker.pixels(load_image(picture))), question, chosen)


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_bundle_answers_as_its_runner(
    in_onnx: Subject, asked_bundle: Path, asked_folder: Path, question: str
) -> None:
    said = answers(in_onnx, asked_folder / "0.png", question, ways(in_onnx, 30, 8))
    runner = open_runner(asked_bundle)
    for prune, name in ((True, "vlm-pruner@8"), (False, "unpruned@49")):
        request = Request(asked_folder / "0.png", question, prune=prune, max_tokens=TOKENS)
        assert said[name] == runner.answer(request).text.strip()
    assert len(set(said.values())) > 1, "pruning changes nothing, so this shows nothing"


def test_pytorch_and_bundle_answer_alike(in_onnx: Subject, in_pytorch: Subject, asked_folder: Path) -> None:
    for question in QUESTIONS:
        said = [answers(one, asked_folder / "1.png", question, ways(one, 20, 8)) for one in (in_onnx, in_pytorch)]
        assert said[0] == said[1]


def test_only_the_bundles_own_pruner_runs_in_its_graph(in_onnx: Subject, in_pytorch: Subject) -> None:
    inside = {way.name for way in ways(in_onnx, 20, 8) if way.pruned_in == "onnx"}
    assert inside == {"vlm-pruner@8"}
    assert {way.pruned_in for way in ways(in_pytorch, 20, 8)} == {None, "pytorch"}
    (changed,) = (way for way in ways_of(in_onnx, [variant("vlm-pruner:batch=1")], [8]) if way.keep == 8)
    assert changed.pruned_in == "pytorch"


@pytest.mark.parametrize("engine", ["onnx", "pytorch"])
def test_a_way_does_not_see_what_was_said_before(
    engine: str, in_onnx: Subject, in_pytorch: Subject, asked_folder: Path
) -> None:
    subject = in_onnx if engine == "onnx" else in_pytorch
    chosen = ways(subject, 20, 3)
    together = answers(subject, asked_folder / "2.png", QUESTIONS[0], chosen)
    assert together == answers(subject, asked_folder / "2.png", QUESTIONS[0], chosen[::-1])
    for way in chosen:
        assert answers(subject, asked_folder / "2.png", QUESTIONS[0], [way])[way.name] == together[way.name]


class CountingEngine:
    """Counts the stages, and prompts apart from single tokens."""

    def __init__(self, engine):
        self.engine, self.runs = engine, Counter()

    def run(self, stage, inputs):
        rows = len(next(iter(inputs.values())))
        self.runs[stage if rows > 1 or stage == "vision" else f"{stage}, decode"] += 1
        return self.engine.run(stage, inputs)


def test_what_is_shared_runs_once(in_onnx: Subject, asked_folder: Path) -> None:
    engine = CountingEngine(in_onnx.engine)
    subject = replace(in_onnx, engine=engine)
    data = open_data(str(asked_folder / "asked.csv"), Wishes())
    ask_all(Asker(subject, 2), data, ways(subject, 20, 8), Journal())
    assert engine.runs["vision"] == 4
    assert engine.runs["head"] == engine.runs["embed"] == 12
    assert engine.runs["tail"] == 12 * 7
    assert engine.runs["prune"] == 12  # the bundle's own; the other five ways in PyTorch


def test_the_mean_picture_is_the_mean(in_onnx: Subject, asked_folder: Path) -> None:
    data, asker = open_data(str(asked_folder / "asked.csv"), Wishes()), Asker(in_onnx, 2)
    pixels = [asker.pixels(load_image(asked_folder / f"{nth}.png")) for nth in range(4)]
    assert mean_pixels(asker, data) == pytest.approx(sum(pixels) / 4, abs=1e-6)


def test_a_question_that_is_too_long_is_named(in_onnx: Subject, asked_folder: Path) -> None:
    data = open_data(str(asked_folder / "asked.csv"), Wishes(1))
    (item,) = data.items
    long = replace(data, items=(replace(item, question="dog " * 60),))
    with pytest.raises(BadRequest, match=r"asked.csv:2: the prompt takes \d+ tokens .*, the context has 96"):
        ask_all(Asker(in_onnx, 2), long, ways(in_onnx, 8), Journal())


def test_a_broken_picture_is_named(in_onnx: Subject, asked_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes((asked_folder / "0.png").read_bytes()[:200])
    (tmp_path / "q.csv").write_text("image,question,answer\nbroken.png,what ?,a\n")
    with pytest.raises(BadRequest, match=r"q.csv:2: image .*broken.png: broken picture"):
        ask_all(Asker(in_onnx, 2), open_data(str(tmp_path / "q.csv"), Wishes()), ways(in_onnx, 8), Journal())


def test_keep_n_is_the_unpruned_model(in_onnx: Subject) -> None:
    assert [way.name for way in ways(in_onnx, 8, 49, 8)] == ["unpruned@49", "vlm-pruner@8", "random@8", "grid@8"]
    assert [way.keep for way in ways(in_onnx)] == [49, *[16] * 3, *[11] * 3, *[5] * 3]


def test_a_bundles_layer_is_fixed(asked_bundle: Path) -> None:
    with pytest.raises(BadRequest, match="layer: got 1; allowed: 2"):
        open_subject(str(asked_bundle), 1, None, lambda line: None)


def test_keys_tell_pictures_and_questions_apart() -> None:
    keys = {Item(*pair, ("x",), "t", "exact", "p").key for pair in (("a", "b"), ("a", "c"), ("b", "b"), ("ab", ""))}
    assert len(keys) == 4
