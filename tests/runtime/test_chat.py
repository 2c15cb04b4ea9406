"""Conversations from the command line: follow-ups, a chat, and both modes side by side."""

import io
import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rich.console import Console
from write_golden import TWO_IMAGES

from vlmprune_runtime.cli import run
from vlmprune_runtime.cli.chat import HELP, chat
from vlmprune_runtime.generate import Request, Runner, last_result, open_runner

FIRST, SECOND = (str(path) for path in TWO_IMAGES.images)
QUESTION = ["--image", FIRST, "--image", SECOND, "--prompt", "why?", "--max-tokens", "4"]
Lines = Callable[..., None]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    """Puts lines on a standard input that is no terminal."""
    return lambda *said: monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in said)))


@pytest.fixture
def runner() -> Runner:
    return open_runner(TWO_IMAGES.bundle)


def told(runner: Runner, prompts: list[str], *, prune: bool = True) -> list[Any]:
    request = Request(TWO_IMAGES.images, prompts[0], prune, 4)
    return [runner.answer(request), *(last_result(runner.follow_up(prompt)) for prompt in prompts[1:])]


def test_follow_ups(runner: Runner, capsys: pytest.CaptureFixture) -> None:
    assert run.main([str(TWO_IMAGES.bundle), *QUESTION, "--follow-up", "so?", "--follow-up", "and?"]) == 0
    shown = capsys.readouterr()
    expected = told(runner, ["why?", "so?", "and?"])
    assert shown.out == "".join(f"{result.text}\n" for result in expected)
    assert [line for line in shown.err.splitlines() if line.startswith("? ")] == ["? why?", "? so?", "? and?"]
    assert f"{expected[1].prefilled_tokens} of {expected[1].prompt_tokens} tokens are new" in shown.err


def test_follow_ups_as_json_are_turns(runner: Runner, capsys: pytest.CaptureFixture) -> None:
    assert run.main([str(TWO_IMAGES.bundle), *QUESTION, "--follow-up", "so?", "--json", "--no-prune"]) == 0
    turns = json.loads(capsys.readouterr().out)["turns"]
    expected = told(runner, ["why?", "so?"], prune=False)
    assert [turn["prompt"] for turn in turns] == ["why?", "so?"]
    for turn, result in zip(turns, expected, strict=True):
        assert (turn["token_ids"], turn["prompt_tokens"]) == (list(result.token_ids), result.prompt_tokens)
        assert turn["prefilled_tokens"] == result.prefilled_tokens
        assert turn["timings"]["ttft_ms"] > 0


def test_both_modes_answer_every_turn(runner: Runner, capsys: pytest.CaptureFixture) -> None:
    assert run.main([str(TWO_IMAGES.bundle), *QUESTION, "--follow-up", "so?", "--compare", "--json"]) == 0
    turns = json.loads(capsys.readouterr().out)["turns"]
    for mode, prune in (("unpruned", False), ("pruned", True)):
        expected = told(runner, ["why?", "so?"], prune=prune)
        assert [turn[mode]["token_ids"] for turn in turns] == [list(result.token_ids) for result in expected]
    assert [turn["prompt"] for turn in turns] == ["why?", "so?"]
    assert all(turn["ttft_ratio"] > 0 for turn in turns)


def test_the_comparison_has_a_part_for_every_turn(capsys: pytest.CaptureFixture) -> None:
    assert run.main([str(TWO_IMAGES.bundle), *QUESTION, "--follow-up", "[red]so?", "--compare"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("unpruned: ") == shown.count("pruned:   ") == 2
    assert shown.count("first token, ms") == 2
    assert shown.count("vision, ms") == 1  # no image is seen again
    assert "[red]so?" in shown


def test_a_chat(runner: Runner, lines: Lines, capsys: pytest.CaptureFixture) -> None:
    lines("", f"/image {FIRST}", f"/image {SECOND}", "why?", "so?", "/quit", "never")
    assert run.main([str(TWO_IMAGES.bundle), "--chat", "--max-tokens", "4"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "".join(f"{result.text}\n" for result in told(runner, ["why?", "so?"]))
    assert "tokens are new" in shown.err


def test_a_chat_begins_with_the_question_that_is_given(
    runner: Runner, lines: Lines, capsys: pytest.CaptureFixture
) -> None:
    """It ends with its input; an image of a later turn is one of the conversation."""
    lines("so?", f"/image {FIRST}", "and?")
    assert run.main([str(TWO_IMAGES.bundle), *QUESTION, "--chat"]) == 0
    expected = told(runner, ["why?", "so?"])
    expected.append(last_result(runner.follow_up("and?", [FIRST])))
    assert capsys.readouterr().out == "".join(f"{result.text}\n" for result in expected)


def test_mistakes_end_no_chat(runner: Runner, lines: Lines, capsys: pytest.CaptureFixture) -> None:
    long = "long " * 30
    lines("why?", "/nope", "/image none.png", "/image", "/help", f"/image {FIRST}", "why?", long, "/new", "so?")
    assert run.main([str(TWO_IMAGES.bundle), "--chat", "--max-tokens", "4"]) == 0
    shown = capsys.readouterr()
    assert shown.out == runner.answer(Request(FIRST, "why?", max_tokens=4)).text + "\n"
    errors = [line for line in shown.err.splitlines() if line.startswith("error: ")]
    needs_a_image = "error: a first question needs an image; give it with /image PATH"
    assert errors[:2] == [needs_a_image, "error: unknown command '/nope'; /help lists those that there are"]
    assert errors[2:4] == [
        "error: image none.png: No such file or directory", "error: /image: the path of an image is missing",
    ]  # fmt: skip
    assert "tokens by now, the context has 128; start it anew" in errors[4]
    assert errors[5:] == [needs_a_image]
    assert HELP.splitlines()[1] in shown.err


class Interrupting:
    """An engine in which Ctrl-C arrives before its call of a number."""

    def __init__(self, engine: Any, at: int) -> None:
        self.engine, self.at = engine, at

    def run(self, stage: str, inputs: Any) -> Any:
        self.at -= 1
        if self.at == 0:
            signal.raise_signal(signal.SIGINT)
        return self.engine.run(stage, inputs)


def asked_with_interrupts(runner: Runner, at: int, capsys: pytest.CaptureFixture) -> tuple[str, str]:
    interrupted = Runner(runner.bundle, Interrupting(runner.engine, at), runner.tokenizer)
    chat(interrupted, Request(TWO_IMAGES.images, "why?", max_tokens=4), Console(stderr=True))
    shown = capsys.readouterr()
    return shown.out, shown.err


@pytest.fixture
def interrupts() -> Iterator[None]:
    """An interrupt is an exception even in a background job, which a shell starts without that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_an_interrupt_stops_the_answer_and_not_the_chat(
    runner: Runner, lines: Lines, capsys: pytest.CaptureFixture
) -> None:
    """In the prefill nothing was asked yet, so that the images wait for the next question."""
    whole = runner.answer(Request(TWO_IMAGES.images, "why?", max_tokens=4)).text
    prefill_calls = 6  # embed, vision and prune of two images, tail
    for at in range(1, prefill_calls + 1):
        lines("why?")
        out, err = asked_with_interrupts(runner, at, capsys)
        assert (out, err.splitlines().count("stopped")) == (f"\n{whole}\n", 1)
    lines("so?")
    out, err = asked_with_interrupts(runner, prefill_calls + 3, capsys)
    assert err.splitlines().count("stopped") == 1
    first, second = out.split("\n", 1)
    assert whole.startswith(first) and first != whole
    assert second.strip("\n") and "tokens are new" in err


def test_an_interrupt_between_questions_says_how_to_end(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    said = iter([KeyboardInterrupt, "/help", EOFError])

    def typed(prompt: str) -> str:
        line = next(said)
        if isinstance(line, str):
            return line
        raise line

    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    monkeypatch.setattr("builtins.input", typed)
    chat(runner, Request((), ""), Console(stderr=True))
    shown = capsys.readouterr().err
    assert "/quit ends the chat" in shown and "/new" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--chat", "--json"], "--chat is a conversation; it does not go with --json"),
        (["--chat", "--follow-up", "x"], "it does not go with --follow-up"),
        (["--image", FIRST], "required without --chat: --prompt"),
        ([], "required without --chat: --image, --prompt"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert run.main([str(TWO_IMAGES.bundle), *options]) == 2
    assert message in capsys.readouterr().err
