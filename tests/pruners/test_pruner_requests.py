"""Wishes that cannot be met are refused in one line that says what, got, allowed."""

import pytest
import torch

from pruner_inputs import inputs_of
from vlmprune_export import prune_tokens
from vlmprune_export.cli import export
from vlmprune_export.pruners import PRUNERS, build_pruner
from vlmprune_export.pruners.resize import RESIZE
from vlmprune_runtime.errors import BadRequest, UnknownName

HIDDEN, KEYS = torch.randn(12, 8), torch.randn(12, 4)


def prune(hidden=HIDDEN, keys=KEYS, **wish):
    return prune_tokens(hidden, keys, **{"grid": (3, 4), "keep": 5, **wish})


def test_kept_and_fused():
    kept, fused = prune(threshold=0.5, batch=3)
    assert kept.dtype == torch.int64 and kept.shape == (5,) and fused.shape == (5, 8)


def test_no_gradient_is_recorded():
    assert not prune(hidden=HIDDEN.clone().requires_grad_())[1].requires_grad


@pytest.mark.parametrize("method", PRUNERS)
def test_every_pruner_keeps_k_of_n_in_image_order(method):
    pruner = build_pruner(method, grid=(3, 4), keep=5)
    kept, fused, order = pruner(*inputs_of(pruner, HIDDEN))
    assert kept.shape == order.shape == (5,) and fused.shape == (5, 8)
    assert bool((kept.diff() > 0).all())


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"hidden": HIDDEN[None]}, ["hidden has shape (1, 12, 8)", "(12, width)", "3 x 4"]),
        ({"hidden": HIDDEN[:11]}, ["hidden has shape (11, 8)"]),
        ({"keys": KEYS[:11]}, ["keys has shape (11, 4)"]),
        ({"keys": KEYS.long()}, ["keys is torch.int64"]),
        ({"hidden": [[1.0]]}, ["hidden is list"]),
        ({"hidden": HIDDEN / 0}, ["hidden holds NaN or infinite"]),
        ({"keys": KEYS * float("nan")}, ["keys holds NaN or infinite"]),
        ({"keep": 0}, ["keep is 0", "1 to"]),
        ({"keep": 2.5}, ["keep is 2.5"]),
        ({"keep": True}, ["keep is True"]),
        ({"grid": (3,)}, ["grid is (3,)", "(height, width)"]),
        ({"grid": (0, 12)}, ["grid height is 0"]),
        ({"grid": (3, 4.0)}, ["grid width is 4.0"]),
        ({"grid": (1, 4096)}, ["grid width is 4096", "2048"]),
        ({"pivots": 0}, ["pivots is 0", "1 to 64"]),
        ({"batch": 0}, ["batch is 0"]),
        ({"channels": -1}, ["channels is -1"]),
        ({"threshold": float("nan")}, ["threshold is nan"]),
        ({"threshold_step": 0}, ["threshold_step is 0"]),
        ({"distance_weight": -0.1}, ["distance_weight is -0.1"]),
        ({"beta": 1.5}, ["beta is 1.5", "0 to 1"]),
        ({"aggregate": 1}, ["aggregate is 1", "true or false"]),
        ({"lambda": 1}, ["no setting 'lambda'", "distance_weight"]),
    ],
)
def test_what_got_allowed(wish, words):
    with pytest.raises(BadRequest) as refused:
        prune(**wish)
    message = str(refused.value)
    assert all(word in message for word in words), message
    assert "allowed" in message and "\n" not in message


@pytest.mark.parametrize(
    ("method", "place", "settings", "words"),
    [
        ("nuwa", "vision", {"cell_tokens": 1}, "cell_tokens is 1: 2 candidates; allowed: None, or 5 of them"),
        ("nuwa", "vision", {"pillars": 1.5}, "pillars is 1.5; allowed: a number from 0 to 1"),
        ("visionzip", "vision", {"contextual": 6}, "contextual is 6; allowed: 1 to 5"),
        ("duet-vlm", "vision", {"contextual": 6}, "contextual is 6; allowed: 1 to 5"),
        ("sparsevlm", "layer", {"select": 2}, "select is 2; allowed for 5 of 12 tokens: \\[4\\]"),
        ("sparsevlm", "layer", {"plus": True}, "plus is true; allowed: false for a model without rotary positions"),
        ("saint", "layer", {"threshold": 3}, "threshold is 3; allowed: a number from -1 to 2"),
        ("saint", "vision", {"place": "tower"}, "no tower here in which tokens can be dropped; allowed: place=layer"),
    ],
)
def test_settings_that_do_not_fit_the_site_are_refused(method, place, settings, words):
    with pytest.raises(BadRequest, match=words):
        build_pruner(method, grid=(3, 4), keep=5, at=place, settings=settings)


def test_unknown_names_list_the_choices():
    with pytest.raises(UnknownName, match="vlm-pruner"):
        build_pruner("vlmpruner", grid=(3, 4), keep=5)
    with pytest.raises(UnknownName, match="scan"):
        build_pruner("vlm-pruner", grid=(3, 4), keep=5, control_flow="for")


def test_the_command_names_every_pruner_that_it_can_export():
    """`cdpruner` needs CLIP's text tower, which no checkpoint has."""
    [option] = [action for action in export.parser()._actions if action.dest == "pruner"]
    named = {word.strip(",.()") for word in (option.help or "").split()}
    assert {*PRUNERS, RESIZE} - {"cdpruner"} <= named
