"""SAINT with its own number of tokens: the released vote decides, K is an upper bound, and every target agrees."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from pruner_targets import RUNS, assert_equal_to_eager
from vlmprune_export.pruners import Pruner, build_pruner
from vlmprune_runtime.errors import BadRequest

Array = npt.NDArray[np.float64]
PACKAGES = {"onnx": "onnx", "executorch": "executorch.runtime", "coreml": "coremltools"}


def saint(tokens: int, keep: int, **settings: object) -> Pruner:
    return build_pruner("saint", grid=(1, tokens), keep=keep, settings={"adaptive": True, **settings})


def clustered(tokens: int, noise: float, seed: int) -> Array:
    """Keys (N, 12) around a few centres."""
    drawn = np.random.default_rng(seed)
    centres = drawn.standard_normal((max(2, tokens // 12), 12))
    return centres[drawn.integers(len(centres), size=tokens)] + noise * drawn.standard_normal((tokens, 12))


def kept_by(pruner: Pruner, keys: Array) -> tuple[list[int], int]:
    kept, _, rank, count = pruner(torch.zeros(len(keys), 4), torch.tensor(keys, dtype=torch.float32))
    stay = int(count[0])
    assert kept[stay:].tolist() == rank[stay:].tolist() == [-1] * (len(kept) - stay)
    assert rank[:stay].tolist() == list(range(stay))
    return kept[:stay].tolist(), len(kept)


def expected(keys: Array, keep: int, threshold: float) -> list[int]:
    """The rounds of the released vote, and of the vote at a lower threshold where too many would be left."""
    unit = keys / np.linalg.norm(keys, axis=1, keepdims=True)
    live, most, nth = list(range(len(keys))), len(keys), 0
    while most > keep:
        nth += 1
        most = max(round(len(keys) * (keep / len(keys)) ** (min(nth, 10) / 10)), most // 2, keep)
        asked, others = live[0::2], live[1::2]
        similar = [sorted(unit[one] @ unit[others].T, reverse=True) for one in asked] if others else []
        votes, needed = sum(sum(value >= threshold for value in row) >= 5 for row in similar), len(live) - most
        chosen, drop = threshold, votes
        if votes < needed:
            reached = sorted((row[min(5, len(row)) - 1] for row in similar), reverse=True)
            chosen, drop = (reached[needed - 1] + reached[min(needed, len(reached) - 1)]) / 2, needed
        scores = [score(row, chosen) for row in similar]
        order = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
        gone = {asked[place] for place in order[:drop]}
        live = [token for token in live if token not in gone]
    return live


def score(similar: list[float], threshold: float) -> float:
    hits = [value for value in similar if value >= threshold]
    if not hits:
        return float(np.mean(similar))
    return len(hits) * math.exp(10 * (float(np.mean(hits)) - threshold))


@pytest.mark.parametrize("threshold", [0.6, 0.83, -1.0])
@pytest.mark.parametrize("tokens", [5, 24, 49])
def test_the_vote_decides_how_many_stay(tokens: int, threshold: float) -> None:
    numbers = set()
    for seed, noise in enumerate((0.05, 0.3, 0.8)):
        keys = clustered(tokens, noise, seed)
        for keep in {1, 4, tokens // 2, tokens - 1}:
            kept, most = kept_by(saint(tokens, keep, threshold=threshold), keys)
            assert kept == expected(keys, keep, threshold)
            assert most == keep
            numbers.add(keep - len(kept))
    assert tokens < 10 or len(numbers) > 1, "the number never depends on the image, so this shows little"


def test_without_votes_the_number_is_k() -> None:
    keys = clustered(49, 0.3, 1)
    for keep in (1, 9, 30):
        fixed = build_pruner("saint", grid=(1, 49), keep=keep)
        same = fixed(torch.zeros(49, 4), torch.tensor(keys, dtype=torch.float32))[0].tolist()
        assert kept_by(saint(49, keep, threshold=2.0), keys) == (same, keep)


@pytest.mark.parametrize("keys", [torch.zeros(24, 8), torch.ones(24, 8), torch.full((24, 8), 1e30)])
def test_hostile_keys_leave_a_rising_list(keys: Tensor) -> None:
    kept, fused, _, count = saint(24, 7)(torch.randn(24, 4), keys)
    stay = kept[: int(count[0])]
    assert 1 <= int(count[0]) <= 7 and bool((stay.diff() > 0).all()) and not bool(fused.isnan().any())


@pytest.mark.parametrize("target", RUNS)
def test_every_target_counts_alike(target: str, tmp_path: Path) -> None:
    pytest.importorskip(PACKAGES[target], reason=f"the target {target} is not installed and NOT tested")
    pruner = saint(20, 9, threshold=0.3, neighbours=2, rounds=2)
    inputs = [torch.randn(20, 12), torch.tensor(clustered(20, 0.8, 2), dtype=torch.float32)]
    with torch.no_grad():
        assert 1 < int(pruner(*inputs)[3]) < 9
        assert_equal_to_eager(pruner, inputs, RUNS[target](pruner, inputs, tmp_path))


def test_inside_the_tower_the_number_is_fixed() -> None:
    with pytest.raises(BadRequest, match="in the tower a fixed number stays; allowed: with place=layer or both"):
        build_pruner("saint", grid=(4, 5), keep=7, settings={"adaptive": True, "place": "tower"})
