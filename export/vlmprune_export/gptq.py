"""GPTQ: weights rounded one input after the other, each corrected for the errors of those before it.

Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
arXiv 2210.17323, in the form of Chee et al., "QuIP", arXiv 2307.13304, section 3 (LDLQ), which gives the same weights
from one Cholesky factor of the moments, without their inverse.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmprune_export.grids import QuantisationGrid, Rounding

DAMPING = 0.01  # of the mean moment, added to every input's own
_PARALLEL = 512  # columns that a product of matrices has to correct before more than one thread pays
_STRIPE = 1024  # columns of the moments that are summed at a time


def gptq_quantize(weight: Tensor, moments: Tensor, grid: QuantisationGrid) -> Tensor:  # (O, I), (I, I) -> (O, I)
    """The weight with every value on the grid, so that the layer's outputs move least.

    `moments` is the sum of x x^T over the inputs x that the layer sees; only its upper triangle is read.
    """
    damping = DAMPING * float(moments.diagonal().mean().clamp(min=1e-12))
    factor, threads = _factor(moments, damping), torch.get_num_threads()
    with _threads(1):
        rounding = grid.fit(weight, moments.diagonal() + damping)
        wanted = weight.t().contiguous()  # an input's weights side by side
        columns = _Columns(wanted, wanted.clone(), torch.empty_like(wanted), factor, rounding, threads)
        columns.round(0, len(wanted))
    return columns.corrected.t().contiguous()


def round_to_grid(weight: Tensor, grid: QuantisationGrid) -> Tensor:  # (O, I) -> (O, I)
    """The weight with every value at the nearest one of the grid."""
    with _threads(1):
        rounding = grid.fit(weight, torch.ones(weight.shape[1]))
        columns = [rounding(place, column.contiguous()) for place, column in enumerate(weight.t())]
    return torch.stack(columns, 1)


def add_moments(moments: Tensor, inputs: Tensor) -> None:  # (I, I), (S, I)
    """Add x x^T of every row x to the upper triangle of `moments`."""
    for start in range(0, len(moments), _STRIPE):
        stripe = slice(start, start + _STRIPE)
        moments[stripe, start:].addmm_(inputs[:, stripe].t(), inputs[:, start:])


@dataclass(frozen=True)
class _Columns:
    """The columns of a weight, each as a row.

    `corrected` is `wanted` and what the rounding of earlier columns missed, until its own rounding takes its place.
    """

    wanted: Tensor  # (I, O)
    corrected: Tensor
    errors: Tensor  # wanted - rounded
    factor: Tensor  # (I, I)
    rounding: Rounding
    threads: int

    def round(self, start: int, stop: int) -> None:
        """Round one half, correct the other by a product with the errors, round it: few and large products."""
        if stop - start == 1:
            self.corrected[start] = self.rounding(start, self.corrected[start])
            torch.sub(self.wanted[start], self.corrected[start], out=self.errors[start])
            return
        middle = (start + stop) // 2
        self.round(start, middle)
        with _threads(self.threads if stop - middle >= _PARALLEL else 1):
            self.corrected[middle:stop].addmm_(self.factor[start:middle, middle:stop].t(), self.errors[start:middle])
        self.round(middle, stop)


def _factor(moments: Tensor, damping: float) -> Tensor:  # (I, I) -> (I, I)
    """The upper triangular R with damped moments = R R^T, each column divided by its diagonal value.

    The Cholesky factor of the moments in reverse order, reversed again, is upper triangular. Moments that rounding
    has made indefinite are damped more until there is a factor.
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
    """Within, PyTorch uses so many threads.

    To hand a few thousand numbers to several takes longer than the work: with two threads beside two other processes
    on two cores, a layer took ten times as long as with one.
    """
    before = torch.get_num_threads()
    if number != before:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        if number != before:
            torch.set_num_threads(before)
