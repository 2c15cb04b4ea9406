"""A killed evaluation goes on where it stopped, and never with the answers of another request."""

from pathlib import Path

import pytest
from asked import QUESTIONS

from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.evaluation import EvaluationRequest, evaluate
from vlmprune_tools.evaluation.dataset import DatasetOptions
from vlmprune_tools.evaluation.evaluator import Evaluator
from vlmprune_tools.evaluation.prediction_log import open_prediction_log, read_log

PRUNERS = ("vlm-pruner", "uniform")


def request(
    bundle: Path, folder: Path, out: Path, limit: int = 6, seed: int = 0, **changes: object
) -> EvaluationRequest:
    options = {"keeps": (8,), "pruners": PRUNERS, "max_tokens": 3} | changes
    return EvaluationRequest(str(bundle), str(folder / "asked.csv"), DatasetOptions(limit, seed), out=out, **options)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The questions that were really asked; a 'kill' in the list stops the next one."""
    questions: list[str] = []
    predict = Evaluator.predict

    def recording(self, visual, question, configs):
        if questions and questions[-1] == "kill":
            raise KeyboardInterrupt
        questions.append(question)
        return predict(self, visual, question, configs)

    monkeypatch.setattr(Evaluator, "predict", recording)
    return questions


def test_a_killed_run_goes_on(asked_bundle: Path, asked_folder: Path, tmp_path: Path, asked: list[str]) -> None:
    wanted = evaluate(request(asked_bundle, asked_folder, tmp_path / "whole.json"))
    assert len(asked) == 6
    whole = next(tmp_path.glob("whole.*.jsonl")).read_bytes()
    torn = tmp_path / next(tmp_path.glob("whole.*.jsonl")).name.replace("whole", "torn")
    torn.write_bytes(whole[: whole.index(b"\n", whole.index(b"\n") + 1) + 9])  # two lines and a piece of the third
    asked.clear()
    assert evaluate(request(asked_bundle, asked_folder, tmp_path / "torn.json")) == wanted
    assert len(asked) == 4
    assert torn.read_bytes() == whole


def test_an_interrupt_keeps_what_was_said(
    asked_bundle: Path, asked_folder: Path, tmp_path: Path, asked: list[str]
) -> None:
    asked.append("kill")
    with pytest.raises(KeyboardInterrupt):
        evaluate(request(asked_bundle, asked_folder, tmp_path / "a.json"))
    assert read_log(next(iter(tmp_path.glob("*.jsonl")), tmp_path / "none"), {}).predictions == {}
    asked.clear()
    evaluate(request(asked_bundle, asked_folder, tmp_path / "a.json", limit=2))
    asked.clear()
    evaluate(request(asked_bundle, asked_folder, tmp_path / "a.json"))
    assert len(asked) == 4, "more questions of the same data go on from fewer"


@pytest.mark.parametrize("changes", [{"max_tokens": 4}, {"seed": 1}])
def test_another_request_starts_anew(
    asked_bundle: Path, asked_folder: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    for more in ({}, changes):
        evaluate(request(asked_bundle, asked_folder, tmp_path / "a.json", limit=1, **more))
    assert len(list(tmp_path.glob("a.*.jsonl"))) == 2


@pytest.mark.parametrize(
    ("changes", "new"),
    [
        ({"keeps": (9, 8)}, {"vlm-pruner@9", "uniform@9"}),
        ({"pruners": ("uniform", "random")}, {"random@8"}),
        ({"settings": {"batch": 1}}, {"vlm-pruner@8"}),
        ({"blind": True}, {"blind@49"}),
    ],
)
def test_only_what_no_config_predicted_is_asked(
    asked_bundle: Path,
    asked_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    new: set[str],
) -> None:
    evaluate(request(asked_bundle, asked_folder, tmp_path / "a.json", limit=1))
    ran, predict = set[str](), Evaluator.predict

    def recording(self, visual, question, configs):
        ran.update(config.name for config in configs)
        return predict(self, visual, question, configs)

    monkeypatch.setattr(Evaluator, "predict", recording)
    evaluate(request(asked_bundle, asked_folder, tmp_path / "a.json", limit=1, **changes))
    assert ran == new and len(list(tmp_path.glob("a.*.jsonl"))) == 1


def test_a_changed_data_file_starts_anew(
    asked_bundle: Path, asked_folder: Path, tmp_path: Path, asked: list[str]
) -> None:
    (tmp_path / "0.png").write_bytes((asked_folder / "0.png").read_bytes())
    for answer in ("red", "blue"):
        (tmp_path / "asked.csv").write_text(f"image,question,answer\n0.png,{QUESTIONS[0]},{answer}\n")
        evaluate(request(asked_bundle, tmp_path, tmp_path / "a.json"))
    assert len(asked) == 2


def test_changed_images_start_anew(asked_bundle: Path, asked_folder: Path, tmp_path: Path, asked: list[str]) -> None:
    (tmp_path / "asked.csv").write_text(f"image,question,answer\n0.png,{QUESTIONS[0]},red\n")
    for image in (asked_folder / "0.png").read_bytes(), (asked_folder / "1.png").read_bytes() + b"more":
        (tmp_path / "0.png").write_bytes(image)
        evaluate(request(asked_bundle, tmp_path, tmp_path / "a.json"))
    assert len(asked) == 2


def test_a_foreign_file_is_not_overwritten(tmp_path: Path) -> None:
    path = open_prediction_log(tmp_path / "a.json", "0" * 64, {}).path
    assert path is not None
    path.write_text("my notes\n")
    with pytest.raises(BadRequest, match="is not a log of "):
        open_prediction_log(tmp_path / "a.json", "0" * 64, {})
    assert path.read_text() == "my notes\n"


def test_without_a_file_nothing_is_kept(asked_bundle: Path, asked_folder: Path, tmp_path: Path) -> None:
    log = open_prediction_log(None, "0" * 64, {})
    log.add("a", {"unpruned@49": "dog"})
    assert log.predictions == {"a": {"unpruned@49": "dog"}} and log.path is None
