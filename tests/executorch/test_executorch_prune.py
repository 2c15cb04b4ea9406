"""The prune method keeps what eager torch keeps, in the same order, with many equal scores too."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from executorch_bundles import WHY

from vlmprune_export.pruners import build_pruner
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.engines import Engine, load_engine

pytest.importorskip("executorch.runtime", reason=WHY)

TOKENS, WIDTH, KEY_WIDTH, KEEP = 49, 48, 16, 8
GOLDEN = Path(__file__).parents[1] / "golden"
CHANGES = ("pivots", "threshold", "batch")
EXTREMES = {"huge": 2.0**70, "tiny": 2.0**-70}


@pytest.fixture(scope="module")
def engine(bundle: Path) -> Engine:
    return load_engine(open_bundle(bundle))


def features(kind: str, seed: int) -> dict[str, Any]:
    dice = np.random.default_rng(seed)
    hidden, keys = dice.standard_normal((TOKENS, WIDTH)), dice.standard_normal((TOKENS, KEY_WIDTH))
    if kind == "ties":  # few different rows of few ones: cosines and distances are equal, and exact in fp32
        codes = dice.integers(0, 4, TOKENS)
        hidden, keys = np.eye(4, WIDTH)[codes], np.eye(4, KEY_WIDTH)[codes[::-1]]
    if kind == "broken":
        hidden[dice.integers(0, TOKENS, 5)] = np.nan
        hidden[dice.integers(0, TOKENS, 5), 3] = np.inf
    if kind == "alike":
        hidden = hidden * 0.05 + 1
    if kind in EXTREMES:  # squares leave fp32
        hidden, keys = hidden * EXTREMES[kind], keys * EXTREMES[kind]
    return {"hidden": hidden.astype(np.float32), "keys": keys.astype(np.float32)}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["random", "alike", "ties", *EXTREMES])
def test_kept_and_rank_are_eagers(engine: Engine, kind: str, seed: int) -> None:
    import torch

    inputs = features(kind, seed)
    eager = build_pruner("vlm-pruner", grid=(7, 7), keep=KEEP).eval()
    kept, fused, rank = eager(*(torch.from_numpy(value) for value in inputs.values()))
    ours = engine.run("prune", inputs)
    assert ours["kept"].tolist() == kept.tolist()
    assert ours["rank"].tolist() == rank.tolist()
    np.testing.assert_allclose(ours["fused"], fused.numpy(), atol=1e-5 * EXTREMES.get(kind, 1.0))


@pytest.mark.parametrize("seed", range(3))
def test_numbers_that_are_none_still_give_distinct_tokens(engine: Engine, seed: int) -> None:
    kept = engine.run("prune", features("broken", seed))["kept"]
    assert kept.shape == (KEEP,) and (np.diff(kept) > 0).all() and kept[0] >= 0 and kept[-1] < TOKENS


def test_the_authors_choice_is_kept(tmp_path: Path) -> None:
    """One golden case of the released code, lowered alone, without delegates."""
    import torch

    from vlmprune_export.backends.executorch.lower import lower_programs
    from vlmprune_runtime.engines.executorch_packages import load_packages

    cases, arrays = json.loads((GOLDEN / "selection.json").read_text()), np.load(GOLDEN / "selection.npz")
    [case] = (case for case in cases if case["name"] == "case09")
    grid, settings = (case["grid_height"], case["grid_width"]), {name: case[name] for name in CHANGES}
    pruner = build_pruner("vlm-pruner", grid=grid, keep=case["keep"], settings=settings, control_flow="scan").eval()
    inputs = [torch.tensor(arrays[f"case09_{part}"]).float() for part in ("hidden", "keys")]
    program = torch.export.export(pruner, tuple(inputs), strict=False)
    lower_programs({"prune": program}, {"prune": []}, {}, "portable", tmp_path / "prune.pte")
    method = load_packages(None).runtime.load_program(tmp_path / "prune.pte").load_method("prune")
    kept, fused, _ = (value.numpy() for value in method.execute(inputs))
    assert kept.tolist() == arrays["case09_kept"].tolist()
    np.testing.assert_allclose(fused, arrays["case09_fused"], atol=1e-4)
