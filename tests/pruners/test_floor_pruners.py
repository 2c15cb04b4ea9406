"""`random` and `uniform`: exactly K distinct tokens of any grid, the same of every image, and as even as they say."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmprune_export.pruners import build_pruner
from vlmprune_export.pruners.uniform import spread, spread_tokens
from vlmprune_runtime.errors import BadRequest

QUICK = settings(derandomize=True, max_examples=80)
FLOORS = ("random", "uniform")
grids = st.tuples(st.integers(1, 14), st.integers(1, 14))


def prune(method, grid, keep, seed_of_noise=0, **wish):
    generator = torch.Generator().manual_seed(seed_of_noise)
    hidden = torch.randn(grid[0] * grid[1], 7, generator=generator)
    return hidden, *build_pruner(method, grid=grid, keep=keep, settings=wish)(hidden)


@pytest.mark.parametrize("method", FLOORS)
@QUICK
@given(grid=grids, data=st.data())
def test_exactly_k_distinct_in_image_rank_untouched(method, grid, data):
    tokens = grid[0] * grid[1]
    keep = data.draw(st.integers(1, tokens + 3))
    hidden, kept, fused, rank = prune(method, grid, keep)
    assert kept.dtype == rank.dtype == torch.int64
    assert kept.shape == (min(keep, tokens),) and bool((kept.diff() > 0).all())
    assert int(kept[0]) >= 0 and int(kept[-1]) < tokens
    assert sorted(rank.tolist()) == list(range(len(kept)))
    assert torch.equal(fused, hidden[kept])


@pytest.mark.parametrize("method", FLOORS)
def test_the_image_does_not_matter(method):
    assert torch.equal(prune(method, (6, 9), 11, 0)[1], prune(method, (6, 9), 11, 1)[1])


@pytest.mark.parametrize("method", FLOORS)
@QUICK
@given(grid=grids)
def test_enough_room_passes_everything_through(method, grid):
    hidden, kept, fused, rank = prune(method, grid, grid[0] * grid[1])
    assert kept.tolist() == rank.tolist() == list(range(grid[0] * grid[1]))
    assert torch.equal(fused, hidden)


def test_random_depends_on_seed_and_grid():
    plain = prune("random", (6, 9), 11)[1].tolist()
    assert plain != prune("random", (6, 9), 11, seed=1)[1].tolist()
    assert plain != prune("random", (9, 6), 11)[1].tolist()


def test_random_is_the_same_draw_for_ever():
    """Figures that were measured once stay comparable."""
    _, kept, _, rank = prune("random", (4, 6), 5)
    assert kept[rank.argsort()].tolist() == [22, 4, 18, 6, 15]


@QUICK
@given(grid=grids, data=st.data())
def test_fewer_random_tokens_are_part_of_more(grid, data):
    few = data.draw(st.integers(1, grid[0] * grid[1]))
    more = data.draw(st.integers(few, grid[0] * grid[1]))
    assert set(prune("random", grid, few)[1].tolist()) <= set(prune("random", grid, more)[1].tolist())


@pytest.mark.parametrize("seed", [-1, 1.5, True, 2**31])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(BadRequest, match="seed is"):
        prune("random", (3, 3), 2, seed=seed)


def test_uniform_has_no_seed():
    with pytest.raises(BadRequest, match="no setting 'seed'; allowed: place, vision_keep"):
        prune("uniform", (3, 3), 2, seed=0)


@QUICK
@given(length=st.integers(1, 60), data=st.data())
def test_a_line_is_divided_evenly(length, data):
    count = data.draw(st.integers(1, length))
    places = spread(length, count)
    steps = {after - before for before, after in pairwise(places)}
    assert len(set(places)) == count and max(steps, default=0) - min(steps, default=0) <= 1
    ends = (places[0], length - 1 - places[-1])
    assert abs(ends[0] - ends[1]) <= 1


@QUICK
@given(grid=grids, data=st.data())
def test_rows_of_the_grid_hold_alike(grid, data):
    height, width = grid
    keep = data.draw(st.integers(1, height * width))
    per_row = [sum(token // width == y for token in spread_tokens(grid, keep)) for y in range(height)]
    used = [count for count in per_row if count]
    assert max(used) - min(used) <= 1


@QUICK
@given(height=st.integers(1, 16), width=st.integers(1, 16), data=st.data())
def test_no_place_is_far_from_a_kept_one(height, width, data):
    """Of an image at most twice as long as wide: within 1.45 times the side of one token's fair share."""
    width = min(max(width, -(-height // 2)), 2 * height)
    keep = data.draw(st.integers(1, height * width))
    kept = [divmod(token, width) for token in spread_tokens((height, width), keep)]
    farthest = max(min(math.dist((y, x), place) for place in kept) for y in range(height) for x in range(width))
    assert farthest <= 1.45 * math.sqrt(height * width / keep)


def test_64_of_576_is_every_third_row_and_column():
    kept = prune("uniform", (24, 24), 64)[1].tolist()
    assert kept == [24 * y + x for y in range(1, 24, 3) for x in range(1, 24, 3)]
