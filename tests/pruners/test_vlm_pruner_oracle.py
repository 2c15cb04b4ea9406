"""The module against loops over tokens: random features, and features whose scores tie exactly."""

import numpy as np
import pytest
import selection_oracle as oracle
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmprune_export.pruners import VlmPrunerSettings, build_pruner

QUICK = settings(derandomize=True, max_examples=60)

grids = st.tuples(st.integers(1, 7), st.integers(1, 7)).filter(lambda grid: grid[0] * grid[1] >= 2)
wishes = st.fixed_dictionaries(
    {
        "pivots": st.integers(1, 5),
        "batch": st.sampled_from([1, 2, 3, 5, 16, 64]),
        "threshold": st.sampled_from([-0.5, 0.0, 0.4, 0.8, 3.0]),
        "threshold_step": st.sampled_from([0.1, 0.25, 1.0]),
        "distance_weight": st.sampled_from([0.0, 0.5, 2.0]),
        "channels": st.sampled_from([3, 256]),
        "beta": st.sampled_from([0.0, 0.3, 1.0]),
    }
)


def expected(hidden, keys, grid, keep, wish):
    setting = VlmPrunerSettings(**wish)
    similar = oracle.similarities(hidden, setting.channels)
    start = oracle.pivots(keys, min(setting.pivots, keep))
    chosen = oracle.selection(similar, start, grid, keep, setting)
    return chosen, oracle.aggregation(hidden, similar, sorted(chosen), setting.beta)


def compare(hidden, keys, grid, keep, wish):
    chosen, rows = expected(hidden.numpy(), keys.numpy(), grid, keep, wish)
    kept, fused, order = build_pruner("vlm-pruner", grid=grid, keep=keep, settings=wish)(hidden, keys)
    assert kept.tolist() == sorted(chosen)
    assert kept[order.argsort()].tolist() == chosen
    np.testing.assert_allclose(fused, rows, rtol=1e-4, atol=1e-4)


@QUICK
@given(grids, st.data(), wishes, st.integers(0, 2**32 - 1))
def test_random_features(grid, data, wish, seed):
    tokens = grid[0] * grid[1]
    keep = data.draw(st.integers(1, tokens - 1))
    noise = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, 12, generator=noise) + data.draw(st.sampled_from([0.0, 2.0]))
    compare(hidden, torch.randn(tokens, 6, generator=noise), grid, keep, wish)


def exact_rows(codes):  # -> (N, 8)
    """Vectors whose cosines are exact in fp32: one, or four, entries of equal size."""
    single = torch.eye(8)[codes % 8]
    quadruple = torch.tensor([[1.0, 1, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, -1, 0, 0]])[codes % 2]
    return torch.where((codes < 8)[:, None], single, quadruple)


@QUICK
@given(grids, st.data(), wishes)
def test_features_that_tie(grid, data, wish):
    tokens = grid[0] * grid[1]
    keep = data.draw(st.integers(1, tokens - 1))
    kinds = data.draw(st.integers(1, 10))
    codes = data.draw(st.lists(st.integers(0, kinds - 1), min_size=tokens, max_size=tokens))
    hidden, keys = exact_rows(torch.tensor(codes)), exact_rows(torch.tensor(codes[::-1]))
    compare(hidden, keys, grid, keep, {**wish, "channels": 8})


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_image_is_chosen_by_place_alone(value):
    hidden, keys = torch.full((30, 8), value), torch.full((30, 4), value)
    compare(hidden, keys, (5, 6), 11, {"channels": 4})
