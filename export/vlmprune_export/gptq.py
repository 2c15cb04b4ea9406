"""GPTQ: weights rounded one input after the other; what a rounding breaks, the inputs still to come make good.

Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
arXiv 2210.17323, algorithm 1. The values that a weight may take are fitted beforehand (`Blocks`, `Palettes`) and lie
so that a converter's own quantiser, which reads its scales off the largest weight, finds them again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

DAMPING = 0.01  # of the mean moment, added to every input's own
PALETTE_SIZE = 16
_COLUMNS = 64  # rounded before the columns that follow are told
_SHRINKS = torch.linspace(0.5, 1.0, 26)  # of the scale that would just hold a block's largest weight
_ROUNDS = 20

Round = Callable[[int, Tensor], Tensor]  # column, (O,) -> (O,)


class Levels(Protocol):
    """The values that weights may take."""

    def fits(self, shape: tuple[int, int]) -> bool:
        """Whether a weight (outputs, inputs) divides into whole groups."""
        ...

    def fit(self, weight: Tensor, importance: Tensor) -> Round:  # (O, I), (I,)
        """How to round a column, once scales or palettes are fitted to errors weighed by `importance`."""
        ...


@dataclass(frozen=True)
class Blocks:
    """Whole numbers from `lowest` to `highest` times a scale per output and block of inputs.

    With `zero_point` each block has its own zero among as many numbers.
    """

    inputs: int = 32
    lowest: int = -7
    highest: int = 7
    zero_point: bool = False

    def fits(self, shape: tuple[int, int]) -> bool:
        """Whether the inputs divide into blocks."""
        return shape[1] % self.inputs == 0

    def fit(self, weight: Tensor, importance: Tensor) -> Round:  # (O, I), (I,)
        """Scales by search; each block's outermost weights stay at the ends of the range."""
        blocks = weight.unflatten(1, (-1, self.inputs))
        most, zero = self._widest(blocks)
        weights = importance.view(1, -1, self.inputs)
        tried = torch.stack([most * shrink for shrink in _SHRINKS])
        nearest = (_values(self._level(blocks, scale, zero), scale, zero) for scale in tried)
        errors = torch.stack([((found - blocks) ** 2 * weights).sum(2) for found in nearest])
        scales = tried.gather(0, errors.argmin(0)[None])[0]
        pins = self._pins(blocks)

        def rounded(column: int, values: Tensor) -> Tensor:
            block, place = divmod(column, self.inputs)
            scale, shift, pin = scales[:, block], zero[:, block], pins[:, block, place, None]
            level = self._level(values[:, None], scale, shift)
            return _values(torch.where(pin >= 0, pin, level), scale, shift)[:, 0]

        return rounded

    @property
    def top(self) -> int:
        """The highest level; the lowest is 0."""
        return self.highest - self.lowest

    def _widest(self, blocks: Tensor) -> tuple[Tensor, Tensor]:  # (O, blocks, inputs) -> (O, blocks) twice
        """Scale and zero level with which nothing is out of range."""
        low, high = blocks.amin(2).clamp(max=0), blocks.amax(2).clamp(min=0)
        if self.zero_point:
            scale = ((high - low) / self.top).clamp(min=1e-12)
            return scale, (-low / scale).round()
        scale = torch.maximum(low / self.lowest, high / self.highest).clamp(min=1e-12)
        return scale, torch.full_like(scale, -self.lowest)

    def _level(self, values: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
        return ((values / scale[..., None]).round() + zero[..., None]).clamp(0, self.top)

    def _pins(self, blocks: Tensor) -> Tensor:
        """The level at which a weight has to stay so that a quantiser finds the scale; elsewhere -1."""
        (low, lowest), (high, highest) = blocks.min(2, keepdim=True), blocks.max(2, keepdim=True)
        needs_low, needs_high = low < 0, high > 0
        if not self.zero_point:
            wider = low / self.lowest > high / self.highest
            needs_low, needs_high = needs_low & wider, needs_high & ~wider
        pins = torch.full_like(blocks, -1)
        pins = pins.scatter(2, highest, torch.where(needs_high, float(self.top), -1.0))
        return pins.scatter(2, lowest, torch.where(needs_low, 0.0, pins.gather(2, lowest)))


@dataclass(frozen=True)
class Palettes:
    """Sixteen values per group of outputs."""

    outputs: int = 16

    def fits(self, shape: tuple[int, int]) -> bool:
        """Whether the outputs divide into groups."""
        return shape[0] % self.outputs == 0

    def fit(self, weight: Tensor, importance: Tensor) -> Round:  # (O, I), (I,)
        """Palettes by weighed k-means in one dimension."""
        groups = weight.reshape(-1, self.outputs * weight.shape[1])
        colours = _centres(groups, importance.repeat(self.outputs).expand_as(groups))
        edges = _edges(colours)

        def rounded(column: int, values: Tensor) -> Tensor:
            shared = values.reshape(-1, self.outputs)
            return colours.gather(1, torch.searchsorted(edges, shared)).flatten()

        return rounded


def rounded_weight(weight: Tensor, moments: Tensor, levels: Levels) -> Tensor:  # (O, I), (I, I) -> (O, I)
    """The weight with every value one of `levels`, so that the layer's outputs move least.

    `moments` is the sum of x x^T over the inputs x that the layer sees.
    """
    damped = moments + DAMPING * moments.diagonal().mean().clamp(min=1e-12) * torch.eye(len(moments))
    rounding = levels.fit(weight, damped.diagonal())
    inverse = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
    rest, done = weight.clone(), torch.empty_like(weight)
    for start in range(0, weight.shape[1], _COLUMNS):
        stop = min(start + _COLUMNS, weight.shape[1])
        errors = torch.zeros(len(weight), stop - start)
        for column in range(start, stop):
            done[:, column] = rounding(column, rest[:, column].contiguous())
            error = (rest[:, column] - done[:, column]) / inverse[column, column]
            errors[:, column - start] = error
            rest[:, column + 1 : stop] -= torch.outer(error, inverse[column, column + 1 : stop])
        rest[:, stop:] -= errors @ inverse[start:stop, stop:]
    return done


def _values(levels: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    return (levels - zero[..., None]) * scale[..., None]


def _centres(groups: Tensor, importance: Tensor) -> Tensor:  # (G, n), (G, n) -> (G, 16), ascending
    """Lloyd's rounds from equal shares of all values on."""
    ascending = groups.sort(1).values
    shares = ((torch.arange(PALETTE_SIZE) + 0.5) / PALETTE_SIZE * groups.shape[1]).long()
    colours = ascending[:, shares]
    for _ in range(_ROUNDS):
        places = torch.searchsorted(_edges(colours), groups)
        amount = torch.zeros_like(colours).scatter_add(1, places, importance)
        total = torch.zeros_like(colours).scatter_add(1, places, groups * importance)
        colours = torch.where(amount > 0, total / amount.clamp(min=1e-30), colours).sort(1).values
    return colours


def _edges(colours: Tensor) -> Tensor:
    return ((colours[:, 1:] + colours[:, :-1]) / 2).contiguous()
