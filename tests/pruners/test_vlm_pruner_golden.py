"""The authors' released code is the judge: in eager torch and, as an ONNX graph, in ONNX Runtime."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from sessions import session_of
from vlmprune_export import prune_tokens
from vlmprune_export.pruners import build_pruner

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = json.loads((GOLDEN / "selection.json").read_text())
CHANGES = ("pivots", "threshold", "batch")


@cache
def arrays():
    return np.load(GOLDEN / "selection.npz")


def inputs(case):
    return (torch.tensor(arrays()[f"{case['name']}_{part}"]).float() for part in ("hidden", "keys"))


def assert_golden(case, kept, fused):
    official = arrays()[f"{case['name']}_kept"]
    assert kept.shape == (case["keep"],) and (np.diff(kept) > 0).all()
    assert set(official) <= set(kept.tolist())
    if not case["short"]:
        np.testing.assert_allclose(fused, arrays()[f"{case['name']}_fused"], atol=1e-4)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_eager_keeps_what_the_released_code_keeps(case):
    hidden, keys = inputs(case)
    grid = (case["grid_height"], case["grid_width"])
    settings = {name: case[name] for name in CHANGES}
    kept, fused = prune_tokens(hidden, keys, grid=grid, keep=case["keep"], **settings)
    assert_golden(case, kept.numpy(), fused.numpy())


@cache
def session(grid, keep, settings):
    pruner = build_pruner("vlm-pruner", grid=grid, keep=keep, settings=dict(settings)).eval()
    example = (torch.zeros(grid[0] * grid[1], 320), torch.zeros(grid[0] * grid[1], 64))
    program = torch.onnx.export(
        torch.export.export(pruner, example, strict=False),
        dynamo=True,
        opset_version=21,
        verbose=False,
        input_names=["hidden", "keys"],
    )
    return session_of(program.model_proto.SerializeToString())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_onnx_runtime_keeps_what_the_released_code_keeps(case):
    hidden, keys = inputs(case)
    grid = (case["grid_height"], case["grid_width"])
    settings = tuple((name, case[name]) for name in CHANGES)
    feed = {"hidden": hidden.numpy(), "keys": keys.numpy()}
    kept, fused, order = session(grid, case["keep"], settings).run(None, feed)
    assert_golden(case, kept, fused)
    eager = build_pruner("vlm-pruner", grid=grid, keep=case["keep"], settings=dict(settings))(hidden, keys)
    assert kept.tolist() == eager[0].tolist() and order.tolist() == eager[2].tolist()
