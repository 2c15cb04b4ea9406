"""Checks that the tensors of a manifest have the dtypes and shapes that prefill feeds and reads."""

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from vlmprune_runtime.errors import BundleError, comma_list, printable, short_repr, shorten
from vlmprune_runtime.schema import MANIFEST, Bundle, Stage, Tensor

Shape = tuple[int | str, ...]

# Dimensions by letter: S tokens of a call, M tokens of a view, K kept tokens, D width of the language model, V
# vocabulary, H and W pixels. A letter that a bundle does not fix may have any size.
_FIXED: dict[str, Shape] = {
    "image.pixels": (1, 3, "H", "W"),
    "prompt.token_ids": ("S",),
    "sequence.rows": ("S", "D"),
    "sequence.past_tokens": (1,),
    "sequence.last_row": (1,),
}
_INTEGERS = (
    "prompt.token_ids",
    "sequence.positions",
    "sequence.places",
    "sequence.views",
    "sequence.past_tokens",
    "sequence.last_row",
)
_OUTPUTS: dict[str, dict[str, Shape]] = {
    "vision": {"features": ("M", "D")},
    "embed": {"embeddings": ("S", "D")},
    "decoder": {"hidden": ("S", "D"), "logits": ("V",)},
    "prune": {"kept": ("K",), "fused": ("K", "D"), "rank": ("K",), "count": (1,)},
}
_WHOLE_OUTPUTS = ("kept", "rank", "count")
FREE = "S"


def check_signatures(bundle: Bundle) -> None:
    """Raises `BundleError` for the first input that its source cannot fill, or output that a runner cannot read."""
    for name, stage in bundle.stages.items():
        sizes = known_sizes(bundle, name)
        for tensor in stage.inputs:
            field = f"stages.{name}.inputs.{tensor.name}"
            _check_dtype(field, tensor, whole=tensor.source.split("[")[0] in _INTEGERS)
            _check_shape(field, tensor, _input_shape(bundle, tensor.source), sizes)
        for output in stage.outputs:
            field = f"stages.{name}.outputs.{output.name}"
            _check_dtype(field, output, whole=output.name in _WHOLE_OUTPUTS)
            _check_shape(field, output, _OUTPUTS[stage.role].get(output.name), sizes)
        _check_graph_shapes(name, stage)


def known_sizes(bundle: Bundle, stage: str) -> dict[str, int]:
    """Returns the sizes that the letters stand for in a stage, on the first grid: the manifest declares its shapes."""
    sizes = {"D": bundle.text_model.hidden_size, "V": bundle.text_model.vocab_size}
    grid = bundle.grids[0]
    cuts = [cut.stage for cut in bundle.cuts]
    keep = {"K": grid.keep[cuts.index(stage)]} if stage in cuts else {}
    return sizes | keep | {"M": grid.view_tokens, "H": grid.height_px, "W": grid.width_px}


def rows_and_past(stage: Stage, inputs: Mapping[str, npt.NDArray[Any]]) -> tuple[int, int]:
    """Returns how many tokens a call brings, and how many the stage's cache holds before it; (1, 0) without tokens."""
    rows, past = 1, 0
    for tensor in stage.inputs:
        if "tokens" in tensor.shape and tensor.name in inputs:
            rows = inputs[tensor.name].shape[tensor.shape.index("tokens")]
        if tensor.source == "sequence.past_tokens" and tensor.name in inputs:
            past = int(inputs[tensor.name][0])
    return rows, past


def _input_shape(bundle: Bundle, source: str) -> Shape | None:
    if source == "sequence.positions":
        return (FREE,) if bundle.positions.axes == 1 else (bundle.positions.axes, FREE)
    return _FIXED.get(source)


def _check_dtype(field: str, tensor: Tensor, *, whole: bool) -> None:
    kinds = ("int64", "int32") if whole else ("float32", "float16")
    if tensor.dtype not in kinds:
        raise BundleError(MANIFEST, f"got {tensor.dtype}, expected {' or '.join(kinds)}", f"{field}.dtype")


def _check_shape(field: str, tensor: Tensor, expected: Shape | None, known: dict[str, int]) -> None:
    if expected is None:
        return
    sizes = tuple(known.get(size, size) if isinstance(size, str) else size for size in expected)
    fits = len(sizes) == len(tensor.shape) and all(map(_fits, sizes, tensor.shape))
    if not fits:
        raise BundleError(MANIFEST, f"got {_shape_text(tensor.shape)}, expected {_shape_text(sizes)}", f"{field}.shape")


def _check_graph_shapes(name: str, stage: Stage) -> None:
    """Raises `BundleError` unless the shape in the graph is that of the tensor behind leading ones."""
    for tensor in (*stage.inputs, *stage.outputs):
        more = len(tensor.in_graph) - len(tensor.shape)
        if more < 0 or tensor.in_graph != (1,) * more + tensor.shape:
            reason = f"got {_shape_text(tensor.in_graph)}, expected {_shape_text(tensor.shape)} behind ones"
            raise BundleError(MANIFEST, reason, f"stages.{name}.{tensor.name}.graph_shape")


def _fits(expected: int | str, declared: int | str) -> bool:
    if expected == FREE:
        return declared == "tokens"
    return isinstance(expected, str) or expected == declared


def _shape_text(sizes: Shape) -> str:
    parts = (short_repr(size, 20) if isinstance(size, int) else shorten(printable(size), 20) for size in sizes)
    return f"({comma_list(parts, 120)})"
