"""Follow-ups in the C++ runner: the Python engine's tokens, and a row of the benchmark."""

import json
from pathlib import Path

import pytest
from running import WAYS, WHY, asked, called, expected

from follow_ups import LONG, PROMPT, with_follow_ups
from vlmprune_runtime.benchmark.record import BenchmarkRecord
from vlmprune_runtime.benchmark.summary import paired_ratio, spread
from vlmprune_runtime.cli import run
from vlmprune_runtime.sample import SAMPLE_IMAGE

pytest.importorskip("executorch.runtime", reason=WHY)


@pytest.fixture(scope="module")
def talking(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_follow_ups(bundle, tmp_path_factory.mktemp("talking") / "bundle")


@pytest.fixture(scope="module")
def conversation(talking: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("conversation") / "dump"
    options = ["--prompt", PROMPT, "--follow-up", LONG, "--follow-up", "no", "--max-tokens", "5", "--dump", str(out)]
    assert run.main([str(talking), "--image", str(SAMPLE_IMAGE), *options]) == 0
    return out


def follow_ups(conversation: Path, *numbers: int) -> list[str]:
    return [word for nth in numbers for word in ("--follow-up", str(conversation / f"follow_up_{nth}.json"))]


@pytest.mark.parametrize("way", WAYS)
def test_tokens_of_follow_ups_are_those_of_the_python_engine(
    runner: Path, talking: Path, conversation: Path, way: str
) -> None:
    more = ["--max-tokens", "5", *WAYS[way], *follow_ups(conversation, 1, 2)]
    done = called([runner], *asked(talking, conversation, *more))
    assert done.returncode == 0, done.stderr
    wanted = expected(conversation, way)
    answers = [wanted["token_ids"], *(turn["token_ids"] for turn in wanted["follow_ups"])]
    assert [[int(word) for word in line.split()] for line in done.stdout.splitlines()] == answers
    assert answers[0] != answers[1]
    assert done.stderr.count("first token after") == 3
    assert done.stderr.count("vision") == 1  # no image is seen again


def test_the_record_has_a_row_of_the_follow_up(runner: Path, talking: Path, conversation: Path) -> None:
    more = ["--json", "--max-tokens", "4", "--repetitions", "3", *follow_ups(conversation, 1)]
    done = called([runner], *asked(talking, conversation, *more))
    assert done.returncode == 0, done.stderr
    record = BenchmarkRecord.model_validate_json(done.stdout)
    [result] = record.results
    added = json.loads((conversation / "follow_up_1.json").read_text())["added"]
    assert (record.settings.follow_up, result.follow_up_tokens) == (LONG, 1 + len(added))
    slow, fast = ([run.follow_up_ms or 0.0 for run in result.runs if run.pruned is prune] for prune in (False, True))
    assert result.pruned.follow_up_ms is not None and result.ratios.follow_up is not None
    assert result.pruned.follow_up_ms.p50 == pytest.approx(spread(fast).p50, abs=2e-4)
    assert result.ratios.follow_up.median == pytest.approx(paired_ratio(slow, fast).median, rel=0.01)


def test_other_conversations_are_refused_in_one_line(
    runner: Path, talking: Path, conversation: Path, tmp_path: Path
) -> None:
    fields = json.loads((conversation / "follow_up_1.json").read_text())
    cases = {
        "has other images than the conversation": fields["pruned"][:20],
        "tokens by now, the context has 96": [*fields["pruned"], *[5] * 60],
        "allowed: 0 to 95": [*fields["pruned"], 5000],
        "should have a token": [],
    }
    for message, token_ids in cases.items():
        (tmp_path / "other.json").write_text(json.dumps(fields | {"pruned": token_ids}))
        done = called([runner], *asked(talking, conversation, "--follow-up", str(tmp_path / "other.json")))
        assert (done.returncode, done.stderr.count("error:")) == (2, 1)
        assert message in done.stderr
    done = called([runner], *asked(talking, conversation, "--json", *follow_ups(conversation, 1, 2)))
    assert (done.returncode, "--json measures one --follow-up" in done.stderr) == (2, True)
