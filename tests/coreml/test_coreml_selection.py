"""The pruner as a saved package keeps what eager PyTorch and the authors' released code keep, ties included."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("coremltools", reason="pip install 'vlmprune[coreml]'; Core ML's selection is NOT tested")

from vlmprune_export.backends.coreml.capture import capture_pruner
from vlmprune_export.backends.coreml.convert import convert
from vlmprune_export.backends.coreml.decompositions import first_argmax, stable_topk
from vlmprune_export.backends.coreml.lint import count_operations
from vlmprune_export.backends.coreml.lookup_table import lookup_table
from vlmprune_export.backends.coreml.package import save_function
from vlmprune_export.pruners import Pruner, build_pruner
from vlmprune_runtime.mil_reference import ReferencePackage

GOLDEN = Path(__file__).parents[1] / "golden"
GOLDEN_NAMES = ("case09", "case20")  # of 24, all of which were run once
GRID, KEEP = (3, 5), 6
SETTINGS = {"pivots": 2, "batch": 4, "channels": 8, "threshold_step": 0.3}
WIDTHS = (12, 6)

Saved = Callable[..., Path]
Features = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    folder = tmp_path_factory.mktemp("pruners")

    @cache
    def save(name: str, grid: tuple[int, int], keep: int, settings: str, widths: tuple[int, int], form: str) -> Path:
        pruner = build_pruner(name, grid=grid, keep=keep, settings=json.loads(settings))
        captured = capture_pruner(pruner, examples(pruner, grid, widths), unrolled=form == "unrolled")
        path = folder / f"{len(list(folder.iterdir()))}.mlpackage"
        save_function(convert(captured, half=False, deployment="ios18"), path)
        return path

    return save


def examples(pruner: Pruner, grid: tuple[int, int], widths: tuple[int, int]) -> dict[str, torch.Tensor]:
    names, tokens = [need.name for need in pruner.needs], grid[0] * grid[1]
    return {name: torch.randn(tokens, {"hidden": widths[0], "keys": widths[1]}[name]) for name in names}


def exact_features() -> Features:
    """Vectors with many equal scores, whose cosines are exact in fp32 whatever the order of summation."""
    codes = torch.tensor([0, 0, 1, 1, 2, 0, 3, 3, 1, 0, 2, 2, 0, 1, 3])
    rows = torch.zeros(4, 12)
    rows[0, 0] = rows[1, 1] = 1
    rows[2, :4] = rows[3, 2:6] = 1
    return rows[codes], rows[codes.flip(0), :6].contiguous()


def random_features(seed: int) -> Features:
    noise = torch.Generator().manual_seed(seed)
    return torch.randn(15, 12, generator=noise) + 1, torch.randn(15, 6, generator=noise)


def run(package: Path, features: Features) -> dict[str, Any]:
    opened = ReferencePackage(package)
    given = {name: part.numpy() for name, part in zip(("hidden", "keys"), features, strict=True)}
    return dict(opened.run("main", {name: given[name] for name, _ in opened.model.functions["main"].inputs}))


def assert_equal(measured: dict[str, Any], pruner: Pruner, features: Features) -> None:
    kept, fused, rank = pruner(*features[: len(pruner.needs)])
    assert measured["kept"].tolist() == kept.tolist() and measured["rank"].tolist() == rank.tolist()
    assert measured["kept"].dtype == measured["rank"].dtype == np.int32
    np.testing.assert_allclose(measured["fused"], fused, atol=1e-5)


@pytest.mark.parametrize("form", ["loop", "unrolled"])
def test_both_forms_keep_what_eager_keeps(saved: Saved, form: str) -> None:
    package = saved("vlm-pruner", GRID, KEEP, json.dumps(SETTINGS), WIDTHS, form)
    pruner = build_pruner("vlm-pruner", grid=GRID, keep=KEEP, settings=SETTINGS)
    for features in [exact_features(), *map(random_features, range(6))]:
        assert_equal(run(package, features), pruner, features)
    counted = count_operations(package)["main"]
    assert (counted["while_loop"], counted["cond"]) == ((1, 1) if form == "loop" else (0, 0))


def golden(names: tuple[str, ...]) -> list[dict[str, Any]]:
    cases = json.loads((GOLDEN / "selection.json").read_text())
    return [case for case in cases if case["name"] in names]


@pytest.mark.parametrize("case", golden(GOLDEN_NAMES), ids=lambda case: case["name"])
def test_it_keeps_what_the_released_code_keeps(saved: Saved, case: dict[str, Any]) -> None:
    arrays = np.load(GOLDEN / "selection.npz")
    features = tuple(torch.tensor(arrays[f"{case['name']}_{part}"]).float() for part in ("hidden", "keys"))
    grid = (case["grid_height"], case["grid_width"])
    settings = {key: case[key] for key in ("pivots", "threshold", "batch")}
    package = saved("vlm-pruner", grid, case["keep"], json.dumps(settings), (320, 64), "loop")
    measured = run(package, features)  # type: ignore[arg-type]
    assert set(arrays[f"{case['name']}_kept"]) <= set(measured["kept"].tolist())
    pruner = build_pruner("vlm-pruner", grid=grid, keep=case["keep"], settings=settings)
    assert_equal(measured, pruner, features)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["random", "uniform"])
def test_pruners_without_a_selection_convert_too(saved: Saved, name: str) -> None:
    package = saved(name, GRID, KEEP, "{}", WIDTHS, "loop")
    assert_equal(run(package, random_features(0)), build_pruner(name, grid=GRID, keep=KEEP), random_features(0))


def test_a_pruner_with_nothing_to_prune_passes_everything_through(saved: Saved) -> None:
    package = saved("vlm-pruner", GRID, 15, "{}", WIDTHS, "loop")
    assert_equal(run(package, random_features(0)), build_pruner("vlm-pruner", grid=GRID, keep=15), random_features(0))


def test_the_pruner_is_as_before_after_capture() -> None:
    pruner = build_pruner("vlm-pruner", grid=GRID, keep=KEEP, settings=SETTINGS)
    before = pruner(*random_features(0))[0].tolist()
    captured = capture_pruner(pruner, examples(pruner, GRID, WIDTHS), unrolled=False)
    assert "higher_order.while_loop" in str(captured.program.graph)
    assert pruner.control_flow == "while" and pruner(*random_features(0))[0].tolist() == before


def test_ties_go_to_the_lower_index() -> None:
    values = torch.tensor([2.0, 1.0, 2.0, 1.0])
    assert stable_topk(values, 4, largest=False)[1].tolist() == [1, 3, 0, 2]
    assert stable_topk(values, 3, largest=True)[1].tolist() == [0, 2, 1]
    assert first_argmax(values, 0, True).tolist() == [0]
    assert first_argmax(values.reshape(2, 2), 1).tolist() == [0, 0]


def test_a_lookup_table_is_its_weights_values_and_refuses_more_than_sixteen() -> None:
    weights = np.random.default_rng(0).choice(np.arange(16, dtype=np.float16) / 7, (16, 576))
    colours, places = lookup_table(weights)
    assert colours.tolist() == sorted(set(weights.ravel().tolist())) and places.dtype == np.uint8
    assert np.array_equal(colours[places], weights.ravel())
    few, places = lookup_table(np.array([[2.0, 1.0]]))
    assert few.shape == (16,) and few[places].tolist() == [2.0, 1.0]
    with pytest.raises(ValueError, match="17 different weights"):
        lookup_table(np.arange(17.0))
