"""`vlmprune::select` to MIL: as a loop that ends when all tokens are chosen, or written out."""

from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb  # noqa: N813 - the name its users know
from coremltools.converters.mil.frontend.torch.ops import _get_inputs
from coremltools.converters.mil.frontend.torch.torch_op_registry import register_torch_op

from vlmprune_export.backends.coreml.steps import Progress, Selecting, Var, one
from vlmprune_export.pruners import VlmPrunerSettings
from vlmprune_export.pruners.selection import rounds


def looped(selecting: Selecting) -> Var:  # -> (K,)
    """The chosen tokens, by a loop that ends when all are chosen."""
    last = mb.while_loop(
        _cond=selecting.unfinished,
        _body=lambda *state: tuple(selecting.step(*state, branch=True)),
        loop_vars=tuple(_variable(value) for value in selecting.start()),
    )
    return selecting.chosen(Progress(*last).order)


def unrolled(selecting: Selecting) -> Var:  # -> (K,)
    """The chosen tokens without control flow: every step that could be needed, the last ones without effect."""
    state = Progress(*(_variable(value) for value in selecting.start()))
    for _ in range(selecting.keep - selecting.pivots.shape[0] + rounds(selecting.settings)):
        going = mb.greater(x=state.room, y=one(0))
        after = selecting.step(*state, branch=False)
        state = Progress(*(_if(going, new, old) for new, old in zip(after, state, strict=True)))
    return selecting.chosen(state.order)


def _if(condition: Var, new: Var, old: Var) -> Var:
    size = new.shape[0]
    every = mb.tile(x=condition, reps=[size]) if size > 1 else condition
    return mb.select(cond=every, a=new, b=old)


def _variable(value: Var) -> Var:
    return mb.identity(x=value) if isinstance(value, np.ndarray) else value


@register_torch_op(  # type: ignore[untyped-decorator]
    torch_alias=["vlmprune.select", "vlmprune::select"], override=True
)
def vlmprune_select(context: Any, node: Any) -> None:
    """The converter's translation of the operator."""
    unit, pivots, *rest = _get_inputs(context, node, expected=9)
    grid, keep, batch, distance_weight, threshold, threshold_step, plain = (_value(argument) for argument in rest)
    settings = VlmPrunerSettings(
        batch=int(batch),
        distance_weight=float(distance_weight),
        threshold=float(threshold),
        threshold_step=float(threshold_step),
    )
    selecting = Selecting(unit, mb.cast(x=pivots, dtype="int32"), (int(grid[0]), int(grid[1])), int(keep), settings)
    context.add(unrolled(selecting) if plain else looped(selecting), torch_name=node.name)


def _value(argument: Any) -> Any:
    return argument if not hasattr(argument, "val") else argument.val
