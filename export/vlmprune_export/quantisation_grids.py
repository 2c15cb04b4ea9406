"""Quantisation grids: the values that a weight may take, chosen so that rounding to them changes outputs little.

A converter's own quantiser derives its scales from the largest weight; the grids are such that it gets the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

LUT_SIZE = 16
_SHRINKS = torch.linspace(0.5, 1.0, 26).tolist()  # factors on the scale that just holds a block's largest weight
_ROUNDS = 20
_ROWS_NUMBERS = 1 << 16  # weights per search for scales, so that they stay in the processor's cache

Rounding = Callable[[int, Tensor], Tensor]  # column, (O,) -> (O,)


class QuantisationGrid(Protocol):
    """The values that weights may take."""

    def fits(self, shape: tuple[int, int]) -> bool:
        """Returns whether a weight (outputs, inputs) divides into whole groups."""
        ...

    def fit(self, weight: Tensor, importance: Tensor) -> Rounding:  # (O, I), (I,)
        """Fits scales or tables to errors weighted by `importance`, and returns the function that rounds a column."""
        ...


@dataclass(frozen=True)
class BlockGrid:
    """A grid of whole numbers from `lowest` to `highest` times a scale per output and block of inputs.

    With `zero_point` each block also has a zero point of its own.
    """

    inputs: int = 32
    lowest: int = -7
    highest: int = 7
    zero_point: bool = False

    def fits(self, shape: tuple[int, int]) -> bool:
        """Returns whether the inputs divide into blocks."""
        return shape[1] % self.inputs == 0

    def fit(self, weight: Tensor, importance: Tensor) -> Rounding:  # (O, I), (I,)
        """Searches for the scales; each block's outermost weights stay at the ends of the range."""
        blocks = weight.unflatten(1, (-1, self.inputs))
        widest, zero = self._widest(blocks)
        rows = max(1, _ROWS_NUMBERS // weight.shape[1])
        parts = zip(blocks.split(rows), widest.split(rows), zero.split(rows), strict=True)
        scale = torch.cat([self._searched(*part, importance.view(-1, self.inputs)) for part in parts])
        pins = self._pins(blocks).flatten(1).t().contiguous()
        scales, zeros = scale.t().contiguous(), zero.t().contiguous()

        def rounded(column: int, values: Tensor) -> Tensor:
            block, pin = column // self.inputs, pins[column]
            level = self._levels(values, scales[block], zeros[block])
            return torch.where(pin >= 0, pin, level).sub_(zeros[block]).mul_(scales[block])

        return rounded

    @property
    def top(self) -> int:
        """Returns the highest level; the lowest level is 0."""
        return self.highest - self.lowest

    def _widest(self, blocks: Tensor) -> tuple[Tensor, Tensor]:  # (O, blocks, inputs) -> (O, blocks) twice
        """Returns the scale and zero level with which no weight is out of range."""
        low, high = blocks.amin(2).clamp(max=0), blocks.amax(2).clamp(min=0)
        if self.zero_point:
            scale = ((high - low) / self.top).clamp(min=1e-12)
            return scale, (-low / scale).round()
        scale = torch.maximum(low / self.lowest, high / self.highest).clamp(min=1e-12)
        return scale, torch.full_like(scale, -self.lowest)

    def _searched(self, blocks: Tensor, widest: Tensor, zero: Tensor, importance: Tensor) -> Tensor:
        """Returns for each block, (O, blocks, inputs), the part of the widest scale whose weighted error is least."""
        best, least = widest, torch.full_like(widest, torch.inf)
        zero, importance = zero[..., None], importance[None]
        for shrink in _SHRINKS:
            scale = (widest * shrink)[..., None]
            error = self._levels(blocks, scale, zero).sub_(zero).mul_(scale).sub_(blocks).square_().mul_(importance)
            total = error.sum(2)
            best, least = torch.where(total < least, scale[..., 0], best), torch.minimum(total, least)
        return best

    def _levels(self, values: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
        return (values / scale).round_().add_(zero).clamp_(0, self.top)

    def _pins(self, blocks: Tensor) -> Tensor:
        """Returns the level that a weight must keep so that a quantiser derives the same scale; elsewhere -1."""
        (low, lowest), (high, highest) = blocks.min(2, keepdim=True), blocks.max(2, keepdim=True)
        needs_low, needs_high = low < 0, high > 0
        if not self.zero_point:
            wider = low / self.lowest > high / self.highest
            needs_low, needs_high = needs_low & wider, needs_high & ~wider
        pins = torch.full_like(blocks, -1)
        pins = pins.scatter(2, highest, torch.where(needs_high, float(self.top), -1.0))
        return pins.scatter(2, lowest, torch.where(needs_low, 0.0, pins.gather(2, lowest)))


@dataclass(frozen=True)
class LutGrid:
    """A look-up table (LUT) of sixteen values per group of outputs."""

    outputs: int = 16

    def fits(self, shape: tuple[int, int]) -> bool:
        """Returns whether the outputs divide into groups."""
        return shape[0] % self.outputs == 0

    def fit(self, weight: Tensor, importance: Tensor) -> Rounding:  # (O, I), (I,)
        """Fits the tables by weighted k-means in one dimension."""
        groups = weight.reshape(-1, self.outputs * weight.shape[1])
        tables = _centres(groups, importance.repeat(self.outputs))
        edges = _edges(tables)

        def rounded(column: int, values: Tensor) -> Tensor:
            shared = values.reshape(-1, self.outputs)
            return tables.gather(1, torch.searchsorted(edges, shared)).flatten()

        return rounded


def _centres(groups: Tensor, importance: Tensor) -> Tensor:  # (G, n), (n,) -> (G, 16), ascending
    """Runs Lloyd's algorithm from equal shares of all values; a cluster's sum is a difference of running sums."""
    ascending, order = groups.sort(1)
    weights = importance.double()[order]
    amounts = _running(weights)
    totals = _running(weights * ascending)
    shares = ((torch.arange(LUT_SIZE) + 0.5) / LUT_SIZE * groups.shape[1]).long()
    centres = ascending[:, shares]
    for _ in range(_ROUNDS):
        ends = torch.searchsorted(ascending, _edges(centres), right=True)
        amount, total = (_between(sums, ends) for sums in (amounts, totals))
        means = (total / amount.clamp(min=1e-30)).to(centres.dtype)
        centres = torch.where(amount > 0, means, centres).sort(1).values
    return centres


def _running(numbers: Tensor) -> Tensor:  # (G, n) -> (G, n + 1), from 0 on
    return torch.nn.functional.pad(numbers.cumsum(1), (1, 0))


def _between(sums: Tensor, ends: Tensor) -> Tensor:  # (G, n + 1), (G, 15) -> (G, 16)
    """Returns the sums over the clusters that end at `ends`."""
    inner = sums.gather(1, ends)
    return torch.cat([inner, sums[:, -1:]], 1) - torch.cat([sums[:, :1], inner], 1)


def _edges(centres: Tensor) -> Tensor:
    return ((centres[:, 1:] + centres[:, :-1]) / 2).contiguous()
