"""Where the inputs of a stage come from: the value of each source that the manifest names.

A source of a new kind is a case of `read_source`.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.errors import EngineError
from vlmprune_runtime.positions import TEXT, PruneGroup, Tokens
from vlmprune_runtime.schema import Pipeline, parse_source

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]


class StagesRun(Protocol):
    """Holds what has been run of a sequence so far, which is all that inputs are read from.

    `outputs` has a dictionary for each stage that runs on the sequence, and for others a list of them, one for each
    view or group of views. `stage_tokens` are the tokens that the sequence had when a stage ran.
    """

    pipeline: Pipeline
    tokens: Tokens
    views: Sequence[Array]  # pixels of each view, (1, 3, H, W)
    past_tokens: dict[str, int]
    rows: Array | None  # (S, D) of the tokens that are left
    outputs: dict[str, Any]
    stage_tokens: dict[str, Tokens]


def read_source(run: StagesRun, source: str, name: str, group: PruneGroup) -> Array:
    """Returns the value of a source for the stage `name`, which runs for the views of a group."""
    match parse_source(source):
        case "image", _, _:
            [view] = group.views
            return run.views[view]
        case "prompt", _, _:
            return run.tokens.token_ids
        case "sequence", "rows", _:
            assert run.rows is not None
            return run.rows
        case "sequence", "positions", _:
            return run.tokens.positions[0] if run.pipeline.positions.axes == 1 else run.tokens.positions
        case "sequence", "places", part:
            every = np.arange(len(run.tokens.view), dtype=np.int64)
            return _part(every, part, run.tokens.view, group)
        case "sequence", "views", _:
            return run.tokens.view
        case "sequence", "deepstack", _:
            return _deepstack(run, name)
        case "sequence", "past_tokens", _:
            return np.array([run.past_tokens.get(name, 0)], dtype=np.int32)
        case "sequence", _, _:
            return np.array([len(run.tokens.view) - 1], dtype=np.int32)
        case stage, output, part:
            return _output(run, stage, output, part, group)


def _output(run: StagesRun, stage: str, output: str, part: str | None, group: PruneGroup) -> Array:
    """Returns an output of a stage that ran before, or its rows that belong to a part."""
    value: Any = run.outputs[stage]
    if isinstance(value, dict):
        return _part(value[output], part, run.stage_tokens[stage].view, group)
    if run.pipeline.stage(stage).role == "prune":
        value = [value[run.tokens.groups.index(group)][output]]
    else:
        value = [value[view][output] for view in group.views]
    whole: Array = value[0] if len(value) == 1 else np.concatenate(value)
    return whole


def _deepstack(run: StagesRun, name: str) -> Array:  # -> (S, layers, D)
    """Returns what is added to hidden states of the tokens that are left: the rows of visual ones, and zeros."""
    [vision] = run.pipeline.of_role("vision")
    declared = run.pipeline.stage(vision).output("deepstack")
    if declared is None:
        raise EngineError(name, "takes sequence.deepstack, which the vision stage does not give")
    sizes: Any = (len(run.tokens.view), *declared.shape[1:])
    rows = np.zeros(sizes, dtype=np.float32)
    for view, output in enumerate(run.outputs.get(vision, ())):
        mine = run.tokens.view == view
        rows[mine] = output["deepstack"][run.tokens.cell[mine]]
    return rows


def _part(value: Array, part: str | None, views: Indices, group: PruneGroup) -> Array:
    """Returns the rows of a tensor that a source selects; `views` (S,) says which view each row belongs to."""
    if part == "last":
        return value[-1:]
    if part is None:
        return value
    rows: Array = value[np.isin(views, group.views if part == "visual" else TEXT)]
    return rows
