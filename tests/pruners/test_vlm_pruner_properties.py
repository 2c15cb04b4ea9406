"""What holds for any input: exactly K tokens in image order, fp32 inside, no NaN, extremes included."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmprune_export.pruners import build_pruner

QUICK = settings(derandomize=True, max_examples=60)

grids = st.tuples(st.integers(1, 12), st.integers(1, 12))
extremes = st.sampled_from([0.0, 1e-45, 1e-30, 1.0, -1.0, 1e15, 1e19, 1e30, -1e30, 3e38, -3e38])


def prune(hidden, keys, grid, keep, **wish):
    return build_pruner("vlm-pruner", grid=grid, keep=keep, settings=wish)(hidden, keys)


def noise(tokens, width, seed=0):
    return torch.randn(tokens, width, generator=torch.Generator().manual_seed(seed))


def assert_sound(kept, order, keep, tokens):
    assert kept.dtype == order.dtype == torch.int64
    assert kept.shape == (keep,) and bool((kept.diff() > 0).all())
    assert int(kept[0]) >= 0 and int(kept[-1]) < tokens
    assert sorted(order.tolist()) == list(range(keep))


@QUICK
@given(
    grids,
    st.data(),
    st.integers(1, 400),
    st.integers(1, 64),
    st.sampled_from([1, 16, 4096]),
    st.sampled_from([-1, 0.01, 0.8, 100]),
    st.sampled_from([0.01, 0.1, 100]),
)
def test_exactly_k_and_deterministic(grid, data, width, pivots, batch, threshold, step):
    tokens = grid[0] * grid[1]
    keep = data.draw(st.integers(1, tokens + 3))
    hidden, keys = noise(tokens, width), noise(tokens, 5, seed=1)
    wish = {"pivots": pivots, "batch": batch, "threshold": threshold, "threshold_step": step}
    kept, fused, order = prune(hidden, keys, grid, keep, **wish)
    assert_sound(kept, order, min(keep, tokens), tokens)
    assert fused.shape == (min(keep, tokens), width) and bool(fused.isfinite().all())
    again = prune(hidden, keys, grid, keep, **wish)
    assert all(torch.equal(a, b) for a, b in zip((kept, fused, order), again, strict=True))


@QUICK
@given(st.data(), st.lists(extremes, min_size=1, max_size=6), st.integers(1, 24))
def test_extreme_finite_features_give_no_nan(data, palette, keep):
    values = st.lists(st.sampled_from(palette), min_size=24, max_size=24)
    hidden = torch.tensor([data.draw(values) for _ in range(5)]).T.contiguous()
    keys = torch.tensor([data.draw(values) for _ in range(3)]).T.contiguous()
    kept, fused, order = prune(hidden, keys, (4, 6), keep)
    assert_sound(kept, order, keep, 24)
    assert not bool(fused.isnan().any())


@QUICK
@given(st.data(), st.sampled_from([math.nan, math.inf, -math.inf]), st.integers(1, 23))
def test_non_finite_features_still_give_k_indices(data, value, keep):
    hidden, keys = noise(24, 300), noise(24, 4, seed=1)
    for values in (hidden, keys):
        rows = data.draw(st.lists(st.integers(0, 23), max_size=24))
        values[rows, data.draw(st.integers(0, values.shape[1] - 1))] = value
    kept, _, order = prune(hidden, keys, (4, 6), keep)
    assert_sound(kept, order, keep, 24)


@pytest.mark.parametrize("exponent", [-100, -60, 60, 100])
def test_a_power_of_two_changes_nothing(exponent):
    hidden, keys = noise(80, 300), noise(80, 16, seed=1)
    plain = prune(hidden, keys, (8, 10), 20)
    scaled = prune(hidden * 2.0**exponent, keys * 2.0**exponent, (8, 10), 20)
    assert torch.equal(plain[0], scaled[0]) and torch.equal(plain[2], scaled[2])
    assert torch.equal(plain[1] * 2.0**exponent, scaled[1])


@QUICK
@given(grids, st.integers(0, 5))
def test_enough_room_passes_everything_through(grid, more):
    tokens = grid[0] * grid[1]
    hidden = noise(tokens, 7)
    kept, fused, order = prune(hidden, noise(tokens, 3), grid, tokens + more)
    assert kept.tolist() == order.tolist() == list(range(tokens))
    assert torch.equal(fused, hidden)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 1e-5, 1e4])
def test_half_precision_is_selected_in_fp32(dtype, scale):
    hidden, keys = (noise(80, 300) * scale).to(dtype), (noise(80, 16, seed=1) * scale).to(dtype)
    kept, fused, order = prune(hidden, keys, (8, 10), 20)
    exact = prune(hidden.float(), keys.float(), (8, 10), 20)
    assert torch.equal(kept, exact[0]) and torch.equal(order, exact[2])
    assert fused.dtype == dtype and torch.equal(fused, exact[1].to(dtype))


def test_pivots_come_first_in_the_order():
    hidden, keys = noise(80, 300), torch.zeros(80, 2)
    keys[[70, 3, 33]] = torch.tensor([[9.0, 0.0], [-5.0, 0.0], [0.0, 3.0]])
    kept, _, order = prune(hidden, keys, (8, 10), 20, pivots=3)
    assert kept[order.argsort()][:3].tolist() == [70, 3, 33]


def test_without_aggregation_rows_stay_as_they_were():
    hidden, keys = noise(80, 30), noise(80, 16, seed=1)
    kept, fused, _ = prune(hidden, keys, (8, 10), 20, aggregate=False)
    assert torch.equal(fused, hidden[kept])
    assert torch.equal(kept, prune(hidden, keys, (8, 10), 20)[0])
