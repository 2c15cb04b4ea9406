"""GPTQ rounds a weight input by input, and corrects the later inputs for the errors of the earlier ones.

Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
arXiv 2210.17323, in the form of Chee et al., "QuIP", arXiv 2307.13304, section 3 (LDLQ), which gives the same weights
from one Cholesky factor of the moments, without their inverse.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmprune_export.quantisation_grids import QuantisationGrid, Rounding

DAMPING = 0.01  # fraction of the mean moment that is added to the moment of every input
_PARALLEL = 512  # least number of corrected columns for which several threads pay
_STRIPE = 1024  # columns of the moments that are summed at once


def gptq_quantize(weight: Tensor, moments: Tensor, grid: QuantisationGrid) -> Tensor:  # (O, I), (I, I) -> (O, I)
    """Returns the weight with every value on the grid, such that the layer's outputs change least.

    `moments` is the sum of x x^T over the inputs x that the layer sees; only its upper triangle is read.
    """
    damping = DAMPING * float(moments.diagonal().mean().clamp(min=1e-12))
    factor, threads = _factor(moments, damping), torch.get_num_threads()
    with _threads(1):
        rounding = grid.fit(weight, moments.diagonal() + damping)
        original = weight.t().contiguous()  # an input's weights side by side
        columns = _Columns(original, original.clone(), torch.empty_like(original), factor, rounding, threads)
        columns.round(0, len(original))
    return columns.corrected.t().contiguous()


def round_to_grid(weight: Tensor, grid: QuantisationGrid) -> Tensor:  # (O, I) -> (O, I)
    """Returns the weight with every value rounded to the nearest value of the grid."""
    with _threads(1):
        rounding = grid.fit(weight, torch.ones(weight.shape[1]))
        columns = [rounding(place, column.contiguous()) for place, column in enumerate(weight.t())]
    return torch.stack(columns, 1)


def add_moments(moments: Tensor, inputs: Tensor) -> None:  # (I, I), (S, I)
    """Adds x x^T of every row x to the upper triangle of `moments`, in place."""
    for start in range(0, len(moments), _STRIPE):
        stripe = slice(start, start + _STRIPE)
        moments[stripe, start:].addmm_(inputs[:, stripe].t(), inputs[:, start:])


@dataclass(frozen=True)
class _Columns:
    """The columns of a weight, each as a row.

    A column of `corrected` is that of `original` plus the corrections for earlier columns, then its rounded value.
    """

    original: Tensor  # (I, O)
    corrected: Tensor
    errors: Tensor  # original - rounded
    factor: Tensor  # (I, I)
    rounding: Rounding
    threads: int

    def round(self, start: int, stop: int) -> None:
        """Rounds one half, corrects the other by a product with the errors, rounds it: few and large products."""
        if stop - start == 1:
            self.corrected[start] = self.rounding(start, self.corrected[start])
            torch.sub(self.original[start], self.corrected[start], out=self.errors[start])
            return
        middle = (start + stop) // 2
        self.round(start, middle)
        with _threads(self.threads if stop - middle >= _PARALLEL else 1):
            self.corrected[middle:stop].addmm_(self.factor[start:middle, middle:stop].t(), self.errors[start:middle])
        self.round(middle, stop)


def _factor(moments: Tensor, damping: float) -> Tensor:  # (I, I) -> (I, I)
    """Returns the upper triangular R with damped moments = R R^T, each column divided by its diagonal value.

    The Cholesky factor of the moments in reverse order, reversed again, is upper triangular. Damping
    grows until a factor exists, for rounding can make the moments indefinite.
    """
    reverse = moments.flip(0, 1)
    failed: int | Tensor = 1
    while failed:
        reverse.diagonal().add_(damping)
        lower, failed = torch.linalg.cholesky_ex(reverse)
        damping *= 10
    factor: Tensor = lower.flip(0, 1)
    return factor.div_(factor.diagonal().clone())


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Sets the number of PyTorch's threads within the block.

    Distributing a few thousand numbers over threads takes longer than the work: with two threads beside two other
    processes on two cores, a layer took ten times as long as with a single thread.
    """
    before = torch.get_num_threads()
    if number != before:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        if number != before:
            torch.set_num_threads(before)
