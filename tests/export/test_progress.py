"""What the progress bar shows of long steps, and what libraries' own bars become."""

import pytest
from rich.console import Console
from tqdm import tqdm

from vlmprune_export.quiet_libraries import quiet
from vlmprune_runtime import progress as plain_progress
from vlmprune_runtime import step_progress as progress
from vlmprune_runtime.progress import hash_progress
from vlmprune_runtime.step_progress import Position, step_progress

LINES = [
    "reading the checkpoint",
    *(f"reading the checkpoint: loading weights {nth} of 5" for nth in range(1, 6)),
    *(f"reading the checkpoint: hashing: {percent} % of 2 GiB" for percent in (1, 50, 100)),
    "lowering tail: capturing",
    "lowering tail: translating",
    *(f"lowering tail: quantising matrix {nth} of 9" for nth in range(1, 10)),
    "writing the manifest",
]


def test_every_line_moves_the_bar_forward_and_no_step_passes_its_end() -> None:
    position, done = Position(8), []
    for line in LINES:
        position.move(line)
        done.append(position.done)
    assert done == sorted(done)
    assert len(set(done)) >= len(LINES) - 2  # a part of several counts begins where the one before it stood
    assert done[LINES.index("lowering tail: capturing") - 1] < 1 <= done[LINES.index("lowering tail: capturing")]
    assert done[-1] == 2


def test_a_step_that_is_all_one_count_reaches_nine_tenths() -> None:
    position = Position(2)
    for nth in range(1, 11):
        position.move(f"fitting layer {nth} of 10, about {50 - 5 * nth} s left")
    assert 0.7 < position.done < 0.9


def test_without_a_terminal_a_silent_step_says_that_it_is_still_at_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "STILL_EVERY_S", 0.1)
    with step_progress(3) as report:
        report("lowering tail: translating")
        report("note: a message")
        shown = ""
        while "still" not in shown:
            shown += capsys.readouterr().err
    lines = shown.splitlines()
    assert lines[:2] == ["lowering tail: translating", "note: a message"]
    assert lines[2].startswith("still lowering tail: translating, ")


def test_without_a_terminal_the_parts_of_a_quick_step_are_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with step_progress(3) as report:
        report("lowering tail")
        for nth in range(1, 100):
            report(f"lowering tail: quantising matrix {nth} of 99")
        report("writing the manifest")
    assert capsys.readouterr().err.splitlines() == ["lowering tail", "writing the manifest"]


def test_on_a_terminal_the_seconds_of_a_step_are_shown() -> None:
    position = Position(3)
    position.move("lowering tail")
    position.begun -= 34
    shown = progress._StepElapsed(position).render(None)  # type: ignore[arg-type]
    console = Console(width=40)
    with console.capture() as captured:
        console.print(shown)
    assert captured.get().strip() == "34 s"


def test_bars_of_libraries_become_lines_and_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    with quiet(report=lines.append):
        for _ in tqdm(range(3), desc="Loading weights", mininterval=0):
            pass
        with tqdm(total=200, desc="model.safetensors: ", unit="B", mininterval=0) as bar:
            bar.update(50)
    assert lines[0] == "loading weights 1 of 3"
    assert "model.safetensors 25 %" in lines
    with quiet():
        assert list(tqdm(range(3))) == [0, 1, 2]
    assert len(capsys.readouterr().err) == 0


def test_hashing_is_shown_only_if_it_takes_longer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(plain_progress, "monotonic", lambda: now[0])
    with hash_progress("loading the bundle") as report:
        for now[0], percent in ((0.5, 10), (1.2, 30), (2.0, 50), (11.5, 90)):
            report(f"{percent} % of 2 GiB")
    assert capsys.readouterr().err.splitlines() == [
        "loading the bundle: hashing, 30 % of 2 GiB",
        "loading the bundle: hashing, 90 % of 2 GiB",
    ]


def test_a_benchmark_shows_how_much_is_hashed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(plain_progress, "monotonic", lambda: now[0])
    with plain_progress.run_progress(3) as report:
        report("loading pocket")
        for now[0], percent in ((0.5, 10), (1.2, 30), (2.0, 50)):
            plain_progress.hashing_of("loading pocket", report)(f"{percent} % of 2 GiB")
        report("round 1 of 2: pocket, pruned")
    assert capsys.readouterr().err.splitlines() == ["loading pocket", "loading pocket: hashing, 30 % of 2 GiB"]


def test_without_a_terminal_a_long_run_says_once_a_minute_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(plain_progress, "monotonic", lambda: now[0])
    for _ in plain_progress.track(range(10), "evaluating scenes"):
        now[0] += 35
    assert capsys.readouterr().err.splitlines() == [
        f"evaluating scenes: {done} of 10, about {left} left"
        for done, left in ((2, "5 min"), (4, "4 min"), (6, "2 min"), (8, "70 s"))  # 280, 210, 140 and 70 s
    ]


def test_lines_that_only_count_are_printed_seldom(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(plain_progress, "monotonic", lambda: now[0])
    report = plain_progress.step_lines()
    report("reading the checkpoint")
    for nth in range(1, 25):
        now[0] += 1
        report(f"reading the checkpoint: loading weights {nth} of 24")
    report("note: 1 line")
    assert capsys.readouterr().err.splitlines() == [
        "reading the checkpoint",
        *(f"reading the checkpoint: loading weights {nth} of 24" for nth in (1, 11, 21)),
        "note: 1 line",
    ]
