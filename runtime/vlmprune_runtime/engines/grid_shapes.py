"""Gives the shapes that a stage's tensors have on each grid, since the manifest declares those of the first grid."""

from typing import TypeVar

from vlmprune_runtime.schema import Grid, Input, Pipeline, Stage, Tensor, parse_source

AnyTensor = TypeVar("AnyTensor", bound=Tensor)
Shape = tuple[int | str, ...]


def stage_on_grid(pipeline: Pipeline, name: str, index: int) -> Stage:
    """Returns a stage with the shapes of a graph for the grid of that index.

    Only stages that run once per view depend on the grid: by the size of the pixels and by the rows of visual tokens.
    """
    stage, first, grid = pipeline.stage(name), pipeline.grids[0], pipeline.grids[index]
    if index == 0 or stage.role not in ("vision", "prune"):
        return stage
    before, after = (_tokens_at_cut(pipeline, name, one) for one in (first, grid))
    given = {before[0]: after[0], first.view_tokens: grid.view_tokens}
    inputs = tuple(_reshaped(tensor, _input_shape(pipeline, tensor, given, grid)) for tensor in stage.inputs)
    outputs = tuple(_reshaped(tensor, _with_rows(tensor, {before[1]: after[1]})) for tensor in stage.outputs)
    return stage.model_copy(update={"inputs": inputs, "outputs": outputs})


def _tokens_at_cut(pipeline: Pipeline, name: str, grid: Grid) -> tuple[int, int]:
    """Returns the tokens of a view before and after the cut of a prune stage; a vision stage drops none."""
    if pipeline.stage(name).role == "vision":
        return grid.view_tokens, grid.view_tokens
    nth = [cut.stage for cut in pipeline.cuts].index(name)
    return (grid.visual_tokens, *grid.keep)[nth], grid.keep[nth]


def _input_shape(pipeline: Pipeline, tensor: Input, rows: dict[int, int], grid: Grid) -> Shape:
    source = parse_source(tensor.source)
    if source.stage == "image":
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
