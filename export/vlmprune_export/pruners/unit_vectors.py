"""Unit vectors of the visual tokens, whose dot products are their cosine similarities."""

import torch
from torch import Tensor

from vlmprune_export.pruners.loops import ControlFlow
from vlmprune_export.pruners.row_sums import magnitude_bound, row_means
from vlmprune_export.pruners.stable_sort import stable_argsort


def scaled_for_squares(values: Tensor, control_flow: ControlFlow) -> Tensor:  # (N, D) -> (N, D)
    """Returns the values in fp32, multiplied by a power of two where their squares would leave the range of fp32.

    Neither the selection nor a cosine depends on a common factor, and a power of two costs no precision.
    """
    values = values.float()
    largest, times = magnitude_bound(values, control_flow)
    small = torch.where(largest < 2.0**-48 * times, 2.0**96, 1.0)
    return values * torch.where(largest > 2.0**48, 2.0**-80, small)


def unit_vectors(hidden: Tensor, channels: int, control_flow: ControlFlow) -> Tensor:  # (N, D) -> (N, q)
    """Returns unit vectors of every token's `channels` channels of largest variance.

    A zero vector stays zero; a vector that holds a NaN or an infinity becomes zero.
    """
    # Channels are rows here: ONNX Runtime takes ten times as long to pick columns.
    values = scaled_for_squares(hidden, control_flow).mT.contiguous()
    if channels < values.shape[0]:
        values = values.index_select(0, varying_channels(values, channels, control_flow))
    squares = (values * values).sum(0, keepdim=True)
    finite = squares < 3e38
    scale = torch.where(finite, squares, 1.0).sqrt().clamp(min=1e-8)
    unit = (values / scale).mT.contiguous()
    # Whole rows are taken or replaced: `where` on every number takes fifty times as long in ExecuTorch.
    places = torch.where(finite[0], torch.arange(unit.shape[0]), unit.shape[0])
    return torch.cat([unit, torch.zeros(1, unit.shape[1])]).index_select(0, places)


def varying_channels(values: Tensor, channels: int, control_flow: ControlFlow) -> Tensor:  # (D, N) -> (q,)
    """Returns the indices of the rows with the largest variance; a tie goes to the lowest index."""
    centred = values - row_means(values, control_flow).view(-1, 1)
    variance = row_means(centred * centred, control_flow)
    # A comparison with NaN is false, so a channel with a non-finite value comes last.
    return stable_argsort(torch.where(variance >= 0, -variance, 1.0), control_flow)[:channels]


def all_similarities(unit: Tensor, control_flow: ControlFlow) -> Tensor | None:  # (N, q) -> (N, N)
    """Returns the similarities of all pairs where one large product costs less than a small one per step, else None."""
    if control_flow != "scan" or not torch.compiler.is_exporting():
        return None
    rows = unit.view(1, *unit.shape)
    return torch.bmm(rows, rows.mT).view(unit.shape[0], -1)
