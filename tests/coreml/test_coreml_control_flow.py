"""Loops and branches of any captured program become Core ML's, converted from the graph of the step itself."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("coremltools", reason="pip install 'vlmprune[coreml]'; Core ML's loops are NOT tested")

from greedy_toys import FarthestPoints, farthest_points, lattice
from vlmprune_export.backends.coreml.capture import CapturedFunction
from vlmprune_export.backends.coreml.convert import convert
from vlmprune_export.backends.coreml.decompositions import DECOMPOSITIONS
from vlmprune_export.backends.coreml.lint import count_operations, lint
from vlmprune_export.backends.coreml.package import save_function
from vlmprune_runtime.mil_reference import ReferencePackage

KEEP = 9


def saved(module: nn.Module, example: Tensor, path: Path) -> Path:
    """The module with outputs `kept` and `rank`, which are whole numbers."""
    program = torch.export.export(module.eval(), (example,), strict=False).run_decompositions(dict(DECOMPOSITIONS))
    save_function(
        convert(CapturedFunction(program, {"x": example}, ("kept", "rank")), half=False, deployment="ios18"), path
    )
    lint(path)
    return path


@pytest.mark.parametrize("radius", [None, 2.5], ids=["so many steps", "early exit"])
@pytest.mark.parametrize("form", ["while-cond", "unrolled"])
def test_farthest_points(form: str, radius: float | None, tmp_path: Path) -> None:
    path = saved(FarthestPoints(KEEP, radius, form), lattice(0), tmp_path / "points.mlpackage")  # type: ignore[arg-type]
    assert count_operations(path)["main"]["while_loop"] == (form != "unrolled")
    package, counts = ReferencePackage(path), set()
    for points in map(lattice, range(6)):
        found = package.run("main", {"x": points.numpy()})
        expected = farthest_points(points.numpy(), KEEP, radius)
        assert found["rank"].tolist() == [len(expected)]
        assert found["kept"].tolist() == expected + [0] * (KEEP - len(expected))
        counts.add(len(expected))
    assert (len(counts) > 1) == (radius is not None)


class Swap(nn.Module):
    """A step whose results are its inputs in another order, with a branch inside."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # (3,) -> (3,), (1,)
        """Counts down from the largest number, by two from even ones; the numbers swap places at each step."""

        def following(value: Tensor) -> Tensor:
            (found,) = torch.cond((value % 2 == 0).view(()), lambda v: (v - 2,), lambda v: (v - 1,), (value,))
            return found

        def step(value: Tensor, first: Tensor, second: Tensor, count: Tensor) -> tuple[Tensor, ...]:
            return following(value), second.clone(), first.clone(), count + 1

        whole = x.to(torch.int64)
        start = (whole.amax(0, keepdim=True), whole, whole + 10, torch.zeros((), dtype=torch.int64))
        last = torch._higher_order_ops.while_loop(lambda v, a, b, n: (v > 0).view(()), step, start)
        return last[1], last[3].view(1)


def test_results_that_are_inputs_and_branches_inside(tmp_path: Path) -> None:
    package = ReferencePackage(saved(Swap(), torch.tensor([3.0, 5.0, 1.0]), tmp_path / "swap.mlpackage"))
    for start, count in ((6, 3), (0, 0), (7, 4), (1, 1)):
        found = package.run("main", {"x": torch.tensor([-1.0, float(start), 0.0]).numpy()})
        assert found["rank"].tolist() == [count]
        assert found["kept"].tolist() == ([9, start + 10, 10] if count % 2 else [-1, start, 0])
