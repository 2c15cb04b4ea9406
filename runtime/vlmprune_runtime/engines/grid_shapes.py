"""Gives the shapes that a stage's tensors have on each grid, since the manifest declares those of the first grid."""

from typing import TypeVar

from vlmprune_runtime.schema import Input, Pipeline, Stage, Tensor, parse_source

AnyTensor = TypeVar("AnyTensor", bound=Tensor)
Shape = tuple[int | str, ...]


def stage_on_grid(pipeline: Pipeline, name: str, index: int) -> Stage:
    """Returns a stage with the shapes of a graph for the grid, or behind the grids the mosaic, of that index.

    Only stages that run once per view depend on the grid: by the size of the pixels and by the rows of visual tokens.
    """
    stage = pipeline.stage(name)
    if index == 0 or stage.role not in ("vision", "prune"):
        return stage
    before, after = (_tokens_at_cut(pipeline, name, which) for which in (0, index))
    given = {before[0]: after[0], pipeline.grids[0].view_tokens: _tokens_of_vision(pipeline, index)}
    inputs = tuple(_reshaped(tensor, _input_shape(pipeline, tensor, given, index)) for tensor in stage.inputs)
    outputs = tuple(_reshaped(tensor, _with_rows(tensor, {before[1]: after[1]})) for tensor in stage.outputs)
    return stage.model_copy(update={"inputs": inputs, "outputs": outputs})


def _tokens_at_cut(pipeline: Pipeline, name: str, index: int) -> tuple[int, int]:
    """Returns the tokens of a view before and after the cut of a prune stage; a vision stage drops none."""
    if pipeline.stage(name).role == "vision":
        return (_tokens_of_vision(pipeline, index),) * 2
    nth, tokens = [cut.stage for cut in pipeline.cuts].index(name), pipeline.tokens_of(index)
    return tokens[nth], tokens[nth + 1]


def _tokens_of_vision(pipeline: Pipeline, index: int) -> int:
    """Returns how many rows the vision stage gives for a view, or for all tiles of a mosaic."""
    return pipeline.grids[index].view_tokens if index < len(pipeline.grids) else pipeline.tokens_of(index)[0]


def _input_shape(pipeline: Pipeline, tensor: Input, rows: dict[int, int], index: int) -> Shape:
    source = parse_source(tensor.source)
    if source.stage == "image" and index < len(pipeline.grids):
        grid = pipeline.grids[index]
        return (*tensor.shape[:-2], grid.height_px, grid.width_px)
    is_visual = source.part == "visual" or source.stage in pipeline.of_role("vision")
    return _with_rows(tensor, rows) if is_visual else tensor.shape


def _with_rows(tensor: Tensor, rows: dict[int, int]) -> Shape:
    """Returns the shape with another first dimension, if `rows` has one for it."""
    if not tensor.shape or isinstance(tensor.shape[0], str):
        return tensor.shape
    return (rows.get(tensor.shape[0], tensor.shape[0]), *tensor.shape[1:])


def _reshaped(tensor: AnyTensor, shape: Shape) -> AnyTensor:
    leading = tensor.in_graph[: len(tensor.in_graph) - len(tensor.shape)]
    in_graph = None if tensor.graph_shape is None else (*leading, *shape)
    return tensor.model_copy(update={"shape": shape, "graph_shape": in_graph})
