"""What holds for every pruner and any input: exactly K tokens in image order, deterministic, and no NaN."""

import pytest
import torch

from pruner_inputs import cuts_of, inputs_of
from vlmprune_export.pruners import PRUNERS, build_pruner
from vlmprune_export.pruners.needs import CutPlace
from vlmprune_runtime.errors import BadRequest

GRID, TOKENS = (4, 6), 24
CUTS = [cut for cut in cuts_of(PRUNERS) if cut[0] != "vlm-pruner"]  # which has tests of its own
HOSTILE = {
    "zeros": torch.zeros(TOKENS, 16),
    "constant": torch.ones(TOKENS, 16),
    "huge": 1e30 * torch.randn(TOKENS, 16, generator=torch.Generator().manual_seed(1)),
    "tiny": 1e-30 * torch.randn(TOKENS, 16, generator=torch.Generator().manual_seed(2)),
    "twins": torch.randn(3, 16, generator=torch.Generator().manual_seed(3)).repeat(8, 1),
}


def prune(cut: tuple[str, CutPlace], hidden: torch.Tensor, keep: int, change=lambda values: values):
    pruner = build_pruner(cut[0], grid=GRID, keep=keep, at=cut[1])
    return pruner(*(change(values) if values.is_floating_point() else values for values in inputs_of(pruner, hidden)))


def assert_sound(pruned, keep: int) -> None:
    kept, fused, rank = pruned
    assert kept.dtype == rank.dtype == torch.int64 and kept.shape == (keep,)
    assert bool((kept.diff() > 0).all()) and int(kept[0]) >= 0 and int(kept[-1]) < TOKENS
    assert sorted(rank.tolist()) == list(range(keep))
    assert not bool(fused.isnan().any())


@pytest.mark.parametrize("cut", CUTS, ids="-".join)
def test_exactly_k_for_any_k_and_the_same_again(cut: tuple[str, CutPlace]) -> None:
    hidden, refused = torch.randn(TOKENS, 16), []
    for keep in range(1, TOKENS + 3):
        try:
            pruned = prune(cut, hidden, keep)
        except BadRequest:
            refused.append(keep)
            continue
        assert_sound(pruned, min(keep, TOKENS))
        assert all(torch.equal(one, other) for one, other in zip(pruned, prune(cut, hidden, keep), strict=True))
    assert refused == ([1] if cut[0] == "sparsevlm" else [])


@pytest.mark.parametrize("cut", CUTS, ids="-".join)
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_features_give_no_nan(cut: tuple[str, CutPlace], kind: str) -> None:
    hidden = HOSTILE[kind]
    assert_sound(prune(cut, hidden, 7), 7)

    def hostile(values: torch.Tensor) -> torch.Tensor:
        rows = hidden[torch.arange(values.shape[0]) % TOKENS]
        return rows[:, 0] if values.dim() == 1 else rows[:, : values.shape[1]]

    assert_sound(prune(cut, hidden, 7, hostile), 7)


@pytest.mark.parametrize("cut", CUTS, ids="-".join)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_no_number_leaves_a_rising_list(cut: tuple[str, CutPlace], value: float) -> None:
    """Rows may then hold such values too, but places are never wrong."""
    hidden = torch.randn(TOKENS, 16, generator=torch.Generator().manual_seed(4))
    hidden[5, 3] = value

    def hostile(values: torch.Tensor) -> torch.Tensor:
        rows = hidden[torch.arange(values.shape[0]) % TOKENS]
        return rows[:, 3] if values.dim() == 1 else rows[:, : values.shape[1]]

    kept, fused, rank = prune(cut, hidden, 7, hostile)
    assert_sound((kept, fused.nan_to_num(), rank), 7)


@pytest.mark.parametrize("cut", CUTS, ids="-".join)
def test_half_precision_selects_in_fp32(cut: tuple[str, CutPlace]) -> None:
    """Features that a half holds exactly give the same selection in fp16 as in fp32."""
    hidden = torch.randn(TOKENS, 16).half().float()
    pruned = prune(cut, hidden, 9, lambda values: values.half().float())
    halved = prune(cut, hidden.half(), 9, lambda values: values.half())
    assert halved[0].tolist() == pruned[0].tolist() and halved[1].dtype in (torch.float16, torch.float32)
