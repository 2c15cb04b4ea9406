"""The tail's linear layers brought to few values, layer after layer, each fitted to what it sees by then."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn

from vlmprune_export.attention import TorchCache
from vlmprune_export.calibration import Calibration, Rows
from vlmprune_export.gptq import Levels, rounded_weight
from vlmprune_export.staged import StagedModel
from vlmprune_export.stages import DecoderStage


def fit_tail(staged: StagedModel, levels: Levels, calibration: Calibration, report: Callable[[str], None]) -> None:
    """Change every linear layer of the tail's decoder that `levels` fits, in place, to weights with its values only.

    The language-model head is left as it is. `report` is told each layer as it begins.
    """
    adapter, rows = staged.adapter, list(calibration.tail_rows(staged))
    for index in staged.tail.decoder.layer_indices:
        report(f"fitting layer {index + 1} of {len(adapter.layers)}")
        stage = DecoderStage(adapter, index, index + 1)
        _fit(stage, rows, _linear_layers(stage, levels), levels)
        rows = [_after(stage, row) for row in rows]


def _linear_layers(stage: DecoderStage, levels: Levels) -> list[nn.Linear]:
    found = (module for module in stage.layers.modules() if isinstance(module, nn.Linear))
    return [layer for layer in found if levels.fits((layer.out_features, layer.in_features))]


@torch.no_grad()
def _fit(stage: DecoderStage, rows: list[Rows], layers: list[nn.Linear], levels: Levels) -> None:
    moments = _moments(stage, rows, layers)
    for layer in layers:
        layer.weight.data = rounded_weight(layer.weight.data.float(), moments[layer], levels).to(layer.weight.dtype)


def _moments(stage: DecoderStage, rows: list[Rows], layers: list[nn.Linear]) -> dict[nn.Linear, Tensor]:
    """Of each layer, the weighed sum of x x^T over all its inputs, each brought to length one.

    The first token of a text is many times as long as all others together; it would be the only one to count.
    """
    sums = {layer: torch.zeros(layer.in_features, layer.in_features) for layer in layers}
    for row in rows:
        with ExitStack() as hooks:
            for layer in layers:
                hooks.callback(layer.register_forward_pre_hook(partial(_add, sums, row.weights)).remove)
            _after(stage, row)
    return sums


def _add(sums: dict[nn.Linear, Tensor], weights: Tensor, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    assert isinstance(layer, nn.Linear)
    seen = nn.functional.normalize(inputs[0].flatten(0, -2).float()) * weights.sqrt()[:, None]
    sums[layer] += seen.t() @ seen


@torch.no_grad()
def _after(stage: DecoderStage, row: Rows) -> Rows:
    """The rows after the layer, none before them."""
    return row._replace(hidden=stage(row.hidden, row.positions, TorchCache()))
