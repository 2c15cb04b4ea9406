"""A graph for another grid than the first has the shapes of its own grid."""

from pathlib import Path

from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.engines.grid_shapes import stage_on_grid
from vlmprune_runtime.schema import Bundle


def two_grids(folder: Path) -> Bundle:
    """The handmade bundle (4 x 4 tokens, 28 x 28 px, 4 kept) with a second grid: 4 x 8 tokens, 28 x 56 px, 6 kept."""
    bundle = open_bundle(folder).manifest
    second = bundle.grids[0].model_copy(update={"width": 8, "width_px": 56, "keep": (6,)})
    return bundle.model_copy(update={"grids": (bundle.grids[0], second)})


def test_pixels_and_rows_are_those_of_the_grid(bundle_folder: Path) -> None:
    bundle = two_grids(bundle_folder)
    vision, prune = (stage_on_grid(bundle, name, 1) for name in ("vision", "prune"))
    width = bundle.text_model.hidden_size
    assert vision.inputs[0].shape == (1, 3, 28, 56)
    assert vision.outputs[0].shape == (32, width)
    assert [tensor.shape for tensor in prune.outputs] == [(6,), (6, width), (6,)]
    declared = bundle.stage("prune").inputs
    for tensor, first in zip(prune.inputs, declared, strict=True):
        assert tensor.shape == (32 if "[visual]" in first.source else first.shape[0], *first.shape[1:])
    assert any("[visual]" in tensor.source for tensor in declared)


def test_leading_ones_of_a_graph_stay(bundle_folder: Path) -> None:
    bundle = two_grids(bundle_folder)
    [features] = stage_on_grid(bundle, "vision", 0).outputs
    in_graph = features.model_copy(update={"graph_shape": (1, *features.shape)})
    stages = bundle.stages | {"vision": bundle.stage("vision").model_copy(update={"outputs": (in_graph,)})}
    [found] = stage_on_grid(bundle.model_copy(update={"stages": stages}), "vision", 1).outputs
    assert found.in_graph == (1, 32, features.shape[1])


def test_stages_of_the_sequence_serve_every_grid(bundle_folder: Path) -> None:
    bundle = two_grids(bundle_folder)
    for name in (*bundle.of_role("embed"), *bundle.of_role("decoder")):
        assert stage_on_grid(bundle, name, 1) == bundle.stage(name)
