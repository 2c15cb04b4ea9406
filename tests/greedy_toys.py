"""A greedy method other than our pruners, written with the shared repetition: farthest points, perhaps a stop."""

import numpy as np
import torch
from torch import Tensor, nn

from vlmprune_export.pruners.loops import ControlFlow, State, repeat


class FarthestPoints(nn.Module):
    """Chooses the point that is farthest from all chosen ones, `keep` times or until all are within `radius`."""

    def __init__(self, keep: int, radius: float | None, control_flow: ControlFlow) -> None:
        super().__init__()
        self.keep, self.radius, self.control_flow = keep, radius, control_flow

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:  # (N, D) -> (K,), (1,)
        """The chosen points in the order chosen, zeros behind them, and how many they are."""

        def step(state: State) -> State:
            nearest, chosen, count = state
            point = nearest.argmax(0, keepdim=True)
            away = points - points.index_select(0, point)
            nearest = torch.minimum(nearest, (away * away).sum(1)).scatter(0, point, torch.full((1,), -1.0))
            return nearest, chosen.scatter(0, count.view(1), point), count + 1

        def uncovered(state: State) -> Tensor:
            return torch.logical_and(state[0].amax(0) > self.radius**2, state[2] < self.keep)

        start = (
            torch.full((points.shape[0],), 3e38),
            torch.zeros(self.keep, dtype=torch.int64),
            torch.zeros((), dtype=torch.int64),
        )
        unfinished = None if self.radius is None else uncovered
        _, chosen, count = repeat(step, start, steps=self.keep, control_flow=self.control_flow, unfinished=unfinished)
        return chosen, count.view(1)


def farthest_points(points: np.ndarray, keep: int, radius: float | None) -> list[int]:
    """The same in plain numpy."""
    chosen, nearest = [], np.full(len(points), np.inf)
    while len(chosen) < keep and (radius is None or nearest.max() > radius**2):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(1))
        nearest[chosen] = -1
    return chosen


def lattice(seed: int) -> Tensor:  # -> (40, 3)
    """Points of whole coordinates, among which many are equally far."""
    return torch.randint(0, 5, (40, 3), generator=torch.Generator().manual_seed(seed)).float()
