"""`repeat` on another greedy method than VLM-Pruner: every control flow selects what plain numpy selects."""

import numpy as np
import pytest
import torch

from greedy_toys import FarthestPoints, farthest_points, lattice
from sessions import session_of
from vlmprune_export.pruners import CONTROL_FLOWS
from vlmprune_export.pruners.loops import repeat
from vlmprune_export.pruners.row_sums import row_sums

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


class Longest(torch.nn.Module):
    """Carries a tensor as long as its input, or none of that length."""

    def __init__(self, carries):
        super().__init__()
        self.carries = carries

    def forward(self, rows):
        def step(state):
            return (state[0] + rows,) if self.carries else (state[0] + row_sums(rows, "while"),)

        start = (torch.zeros_like(rows) if self.carries else torch.zeros(2),)
        return repeat(step, start, steps=3, control_flow="scan")[0]


def test_a_scan_refuses_a_state_of_free_length():
    """ExecuTorch would lower and load it, and fail when it runs."""
    shapes = ({1: torch.export.Dim("text", min=2, max=64)},)
    rows = torch.ones(2, 5)
    program = torch.export.export(Longest(carries=False), (rows,), dynamic_shapes=shapes, strict=False)
    assert program.module()(torch.ones(2, 7)).tolist() == [21, 21]
    with pytest.raises(ValueError, match=r"the loop's state 0 has the sizes \('2', '\w+'\), of which one is not fixed"):
        torch.export.export(Longest(carries=True), (rows,), dynamic_shapes=shapes, strict=False)


class Sums(torch.nn.Module):
    def forward(self, rows):
        return row_sums(rows, "scan")


def test_rows_of_free_length_are_summed_too():
    """A vector of ones would fix their length."""
    shapes = ({1: torch.export.Dim("text", min=2, max=64)},)
    program = torch.export.export(Sums(), (torch.ones(2, 5),), dynamic_shapes=shapes, strict=False)
    assert program.module()(torch.ones(2, 7)).tolist() == [7, 7]
