"""Compares the Kotlin runtime with Python's on one ONNX bundle: the same tokens and kept indices, and both's times.

    python runtime/kotlin/compare.py BUNDLE [--rounds 3 --pairs 4]

It needs what `mvn test` has compiled. The two take turns as processes with one thread each, and the least time of each
stage counts, so that other programs' load disturbs both alike.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from arm64 import MAIN, class_path
from PIL import Image

from vlmprune_runtime.benchmark.measure import BenchmarkRequest, measure
from vlmprune_runtime.benchmark.record import BenchmarkRecord, ModeStats
from vlmprune_runtime.generate import Request, open_runner
from vlmprune_runtime.sample import SAMPLE_IMAGE, SAMPLE_PROMPT

TOKENS = 16
MODES = ("unpruned", "pruned")


def kotlin(*arguments: str) -> str:
    """Returns what the Kotlin runtime prints."""
    command = ["java", "-cp", class_path(), f"-Dgolden={Path.cwd()}", MAIN, *arguments]
    run = subprocess.run(command, env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"}, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"the Kotlin runtime failed: {run.stderr.strip()[-800:]}")
    return run.stdout


def check_answers(bundle: Path, picture: Path) -> None:
    """Ends the process with a message unless both give the same answers in both modes."""
    printed = kotlin("answer", str(bundle), str(picture), SAMPLE_PROMPT, str(TOKENS))
    got = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    runner = open_runner(bundle, threads=1)
    for answer in got:
        result = runner.answer(Request(picture, SAMPLE_PROMPT, answer["prune"], max_tokens=TOKENS))
        wanted = (list(result.token_ids), [list(view.kept) for view in result.pruned])
        if (answer["token_ids"], answer["kept"]) != wanted:
            raise SystemExit(f"other answers: Kotlin {answer}, Python {wanted}")
    print(f"{len(got)} answers as in Python: {' / '.join(answer['text'] for answer in got)}")


def records(bundle: Path, picture: Path, rounds: int, pairs: int) -> dict[str, list[BenchmarkRecord]]:
    """Returns the records of both runtimes, which take turns."""
    found: dict[str, list[BenchmarkRecord]] = {"Kotlin": [], "Python": []}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "record.json"
        for _ in range(rounds):
            kotlin("measure", str(bundle), str(picture), SAMPLE_PROMPT, str(TOKENS), str(pairs), str(out))
            found["Kotlin"].append(BenchmarkRecord.model_validate_json(out.read_text()))
            request = BenchmarkRequest(picture, repetitions=pairs, tokens=TOKENS, threads=1)
            found["Python"].append(measure([bundle], request))
    return found


def times(mode: ModeStats) -> dict[str, float]:
    """Returns the least times of a mode in milliseconds."""
    decode = mode.decode_ms_per_token.min if mode.decode_ms_per_token else 0.0
    prefill = {"prefill": mode.llm_prefill_ms.min, "TTFT": mode.ttft_ms.min, "decode": decode}
    return {stage: spread.min for stage, spread in mode.stages_ms.items()} | prefill


def show(found: dict[str, list[BenchmarkRecord]]) -> None:
    """Prints the least time of each stage in both runtimes, and their ratio."""
    for name in MODES:
        sides = [[times(getattr(record.results[0], name)) for record in found[side]] for side in found]
        for stage in sides[0][0]:
            ours, theirs = (min(run[stage] for run in side) for side in sides)
            print(f"{name:9} {stage:11} Kotlin {ours:9.2f} ms   Python {theirs:9.2f} ms   {ours / theirs:5.2f}")


def main() -> int:
    """Compares answers, and times where rounds are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=0, help="turns of both runtimes that are timed, default none")
    parser.add_argument("--pairs", type=int, default=4, help="pruned and unpruned runs of a turn, default 4")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "sample.png"  # the JVM decodes JPEG in another way than Pillow
        Image.open(SAMPLE_IMAGE).save(picture)
        check_answers(given.bundle, picture)
        if given.rounds:
            show(records(given.bundle, picture, given.rounds, given.pairs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
