"""Rounds the tail's linear layers to a quantisation grid, each fitted to the outputs of the layers before it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from vlmprune_export.calibration import Calibration, Rows
from vlmprune_export.decoder_attention import TorchCache
from vlmprune_export.gptq import add_moments, gptq_quantize, round_to_grid
from vlmprune_export.quantisation_grids import QuantisationGrid
from vlmprune_export.stage_modules import DecoderStage
from vlmprune_export.staged_model import StagedModel
from vlmprune_runtime.progress import Report, estimated_duration

FIT_METHODS = ("gptq", "none")
WORTH_A_NOTE_S = 20
_TRIAL = 1024  # size of the matrices whose product measures the speed of this machine
_SEARCH_FLOPS = 6_000  # per weight: cost of the search for scales, in operations of a matrix product


def fit_tail(staged: StagedModel, grid: QuantisationGrid, calibration: Calibration, report: Report) -> None:
    """Rounds every linear layer of the tail's decoder that `grid` fits to the grid, in place.

    The language-model head does not change. `report` gets the expected time, then each layer as it begins.
    """
    rows, total = list(calibration.tail_rows(staged)), len(staged.family.layers)
    stages = [DecoderStage(staged.family, index, index + 1) for index in staged.tail.decoder.layer_indices]
    expected = _expected_seconds(stages[0], rows, grid)
    if expected * len(stages) >= WORTH_A_NOTE_S:
        whole = estimated_duration(expected * len(stages))
        report(f"note: fitting the 4-bit weights takes about {whole}; --fit none leaves it out, for larger errors")
    for stage, left in _timed(stages, expected):
        report(f"fitting layer {stage.layer_indices.start + 1} of {total}, about {estimated_duration(left)} left")
        _fit(stage, rows, grid)
        rows = [_after(stage, row) for row in rows]


def round_tail(staged: StagedModel, grid: QuantisationGrid, report: Report) -> None:
    """Rounds the same layers to the nearest weights on the grid, without calibration."""
    layers = _linear_layers(staged.tail.decoder, grid)
    for nth, layer in enumerate(layers):
        report(f"rounding matrix {nth + 1} of {len(layers)}")
        layer.weight.data = round_to_grid(layer.weight.data.float(), grid).to(layer.weight.dtype)


def _timed(stages: Sequence[DecoderStage], expected: float) -> Iterator[tuple[DecoderStage, float]]:
    """Yields each stage with the seconds left, which are first as `expected` per stage, then as measured."""
    begin, seconds = time.monotonic(), expected
    for nth, stage in enumerate(stages):
        yield stage, seconds * (len(stages) - nth)
        seconds = (time.monotonic() - begin) / (nth + 1)


def _linear_layers(decoder: DecoderStage, grid: QuantisationGrid) -> list[nn.Linear]:
    linears = (module for module in decoder.layers.modules() if isinstance(module, nn.Linear))
    return [layer for layer in linears if grid.fits((layer.out_features, layer.in_features))]


@torch.no_grad()
def _fit(stage: DecoderStage, rows: list[Rows], grid: QuantisationGrid) -> None:
    """Fits layers with the same inputs as one layer, because GPTQ treats every output on its own."""
    for layers, moments in _moments(stage, rows, _linear_layers(stage, grid)):
        weight = torch.cat([layer.weight.data.float() for layer in layers])
        parts = gptq_quantize(weight, moments, grid).split([layer.out_features for layer in layers])
        for layer, part in zip(layers, parts, strict=True):
            layer.weight.data = part.to(layer.weight.dtype)


def _moments(stage: DecoderStage, rows: list[Rows], layers: list[nn.Linear]) -> list[tuple[list[nn.Linear], Tensor]]:
    """Returns groups of layers that share their input tensor, each with the moments of the tensor's rows."""
    recorder = _Recorder()
    with ExitStack() as hooks:
        for layer in layers:
            hooks.callback(layer.register_forward_pre_hook(recorder).remove)
        for row in rows:
            recorder.weights = row.weights
            _after(stage, row)
    return [(recorder.groups[first], moments) for first, moments in recorder.moments.items()]


class _Recorder:
    """A hook that sums w x x^T over the input rows x of layers, each normalised and with its weight w.

    Without the normalisation only the first token of a text would count: it is many times as long as the others.
    """

    def __init__(self) -> None:
        self.weights = torch.ones(1)  # of the current rows
        self.moments: dict[nn.Linear, Tensor] = {}  # by the first layer that takes a tensor
        self.groups: dict[nn.Linear, list[nn.Linear]] = {}  # all layers that take it, by the first
        self._latest: tuple[nn.Linear, Tensor] | None = None

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Adds the inputs of `layer`, unless another layer has just added the same tensor."""
        assert isinstance(layer, nn.Linear)
        if self._latest is None or self._latest[1] is not inputs[0]:
            self._latest = layer, inputs[0]
            seen = nn.functional.normalize(inputs[0].flatten(0, -2).float()) * self.weights.sqrt()[:, None]
            add_moments(self.moments.setdefault(layer, torch.zeros(2 * [layer.in_features])), seen)
        group = self.groups.setdefault(self._latest[0], [])
        if layer not in group:
            group.append(layer)


@torch.no_grad()
def _after(stage: DecoderStage, row: Rows) -> Rows:
    """Returns the rows after the layer, which starts from an empty cache."""
    return row._replace(hidden=stage.hidden(row.hidden, row.positions, TorchCache()))


def _expected_seconds(stage: DecoderStage, rows: list[Rows], grid: QuantisationGrid) -> float:
    """Estimates the time of a layer: two passes, the moments, a factor, the corrections and the search for scales."""
    tokens, inputs = sum(len(row.hidden) for row in rows), set[int]()
    flops = 0
    for layer in _linear_layers(stage, grid):
        size = layer.in_features
        flops += layer.out_features * size * (4 * tokens + size + _SEARCH_FLOPS)
        inputs.add(size)
    flops += sum(size**2 * (2 * tokens + size) for size in inputs)
    return flops / _flops_per_second()


def _flops_per_second() -> float:
    matrix = torch.ones(_TRIAL, _TRIAL)
    matrix @ matrix
    begin = time.monotonic()
    matrix @ matrix
    return 2 * _TRIAL**3 / (time.monotonic() - begin)
