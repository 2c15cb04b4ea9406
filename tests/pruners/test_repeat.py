"""`repeat` on another greedy method than VLM-Pruner: every control flow selects what plain numpy selects."""

import numpy as np
import pytest
import torch

from greedy_toys import FarthestPoints, farthest_points, lattice
from sessions import session_of
from vlmprune_export.pruners import CONTROL_FLOWS

KEEP = 9
RADII = (None, 3.2)
SCATTERED = [torch.randn(40, 3, generator=torch.Generator().manual_seed(seed)) * 2 for seed in range(4)]


def assert_chosen(found, points, radius):
    chosen, count = (np.asarray(part).tolist() for part in found)
    expected = farthest_points(np.asarray(points), KEEP, radius)
    assert count == [len(expected)] and chosen == expected + [0] * (KEEP - len(expected))


@pytest.mark.parametrize("radius", RADII)
def test_eager(radius):
    for points in [lattice(0), *SCATTERED]:
        assert_chosen(FarthestPoints(KEEP, radius, "while")(points), points, radius)


def test_the_radius_ends_it_early():
    assert sorted(len(farthest_points(points.numpy(), KEEP, RADII[1])) for points in SCATTERED) == [7, 8, 9, 9]


@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize("control_flow", CONTROL_FLOWS)
def test_captured_and_in_onnx_runtime(control_flow, radius):
    module = FarthestPoints(KEEP, radius, control_flow).eval()
    program = torch.export.export(module, (lattice(0),))
    onnx = torch.onnx.export(program, dynamo=True, opset_version=21, verbose=False, input_names=["points"])
    session = session_of(onnx.model_proto.SerializeToString())
    for points in SCATTERED:
        assert_chosen(program.module()(points), points, radius)
        assert_chosen(session.run(None, {"points": points.numpy()}), points, radius)


@pytest.mark.parametrize(
    ("control_flow", "operator"), [("while", "while_loop"), ("while-cond", "while_loop"), ("scan", "scan")]
)
@pytest.mark.parametrize("radius", RADII)
def test_the_loop_is_one_operator(control_flow, operator, radius):
    graph = str(torch.export.export(FarthestPoints(KEEP, radius, control_flow).eval(), (lattice(0),)).graph)
    assert graph.count(f"higher_order.{operator}]") == 1
