"""Unit vectors of the visual tokens, whose dot products are their cosine similarities."""

import torch
from torch import Tensor

from vlmprune_export.pruners.loops import LoopForm
from vlmprune_export.pruners.ordering import ascending


def in_square_range(values: Tensor) -> Tensor:  # (N, D) -> (N, D)
    """The values in fp32, times a power of two where their squares would leave the range of fp32.

    Neither the selection nor a cosine depends on a common factor, and a power of two costs no precision.
    """
    values = values.float()
    largest = values.abs().flatten().amax(0)
    small = torch.where(largest < 2.0**-48, 2.0**96, torch.ones_like(largest))
    return values * torch.where(largest > 2.0**48, 2.0**-80, small)


def unit_features(hidden: Tensor, channels: int, form: LoopForm) -> Tensor:  # (N, D) -> (N, q)
    """The `channels` most varying channels of every token, as unit vectors.

    A zero vector stays zero; so does one that holds a NaN or an infinity.
    """
    values = in_square_range(hidden)
    if channels < values.shape[1]:
        values = values.index_select(1, varying_channels(values, channels, form))
    squares = (values * values).sum(1, keepdim=True)
    finite = squares < 3e38
    scale = torch.where(finite, squares, torch.ones_like(squares)).sqrt().clamp(min=1e-8)
    return torch.where(finite, values / scale, torch.zeros_like(values))


def varying_channels(values: Tensor, channels: int, form: LoopForm) -> Tensor:  # (N, D) -> (q,)
    """Indices of the channels with the largest variance over the tokens; ties to the lowest index."""
    centred = values - values.mean(0, keepdim=True)
    variance = (centred * centred).mean(0)
    # A comparison with NaN is false: a channel with a non-finite value comes last.
    known = torch.where(variance >= 0, variance, -torch.ones_like(variance))
    return ascending(-known, form)[:channels]
