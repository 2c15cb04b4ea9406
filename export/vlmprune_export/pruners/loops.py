"""How one step is repeated: the same tensors and the same arithmetic in every form.

Not exporting, a step is repeated by Python until nothing is left to do. While exporting:

- "while": `torch.while_loop`, which the ONNX exporter turns into a Loop that stops early (ONNX Runtime).
- "scan": `torch.scan`, a fixed number of steps (ExecuTorch emits scan and cond, but no while_loop).
- "unrolled": the step written out `steps` times without any control flow.

Steps past the end must therefore change nothing that is read afterwards.
"""

from collections.abc import Callable
from typing import Literal, cast, get_args

import torch
from torch import Tensor
from torch._higher_order_ops import scan, while_loop

from vlmprune_runtime.errors import UnknownName

State = tuple[Tensor, ...]
LoopForm = Literal["while", "scan", "unrolled"]
LOOP_FORMS: tuple[str, ...] = get_args(LoopForm)


def repeat(
    step: Callable[[State], State],
    unfinished: Callable[[State], Tensor],
    state: State,
    *,
    steps: int,
    form: LoopForm,
) -> State:
    """The state after `step` was repeated while `unfinished`; `steps` is a number that always suffices."""
    if not torch.compiler.is_exporting():
        return _repeat_eagerly(step, unfinished, state)
    if form == "while":
        return cast(State, while_loop(lambda *s: unfinished(s), lambda *s: step(s), state))
    if form == "scan":
        return _repeat_scan(step, state, steps)
    if form == "unrolled":
        for _ in range(steps):
            state = step(state)
        return state
    raise UnknownName("loop form", form, LOOP_FORMS)


def branch(
    found: Tensor,
    then: Callable[..., State],
    otherwise: Callable[..., State],
    operands: State,
    *,
    form: LoopForm,
) -> State:
    """`then` or `otherwise` of the operands: only one is computed, except in the unrolled form."""
    if not torch.compiler.is_exporting():
        return then(*operands) if bool(found) else otherwise(*operands)
    if form in ("unrolled", "while"):
        pairs = zip(then(*operands), otherwise(*operands), strict=True)
        return tuple(torch.where(found, a, b) for a, b in pairs)
    return cast(State, torch.cond(found, then, otherwise, operands))


def _repeat_eagerly(
    step: Callable[[State], State], unfinished: Callable[[State], Tensor], state: State
) -> State:
    while bool(unfinished(state)):
        state = step(state)
    return state


def _repeat_scan(step: Callable[[State], State], state: State, steps: int) -> State:
    # scan wants something to run over and something to stack: one number a step serves as both.
    def body(carried: list[Tensor], tick: Tensor) -> tuple[list[Tensor], Tensor]:
        return list(step(tuple(carried))), tick.clone()

    carried, _ = scan(body, list(state), torch.zeros(steps, 1))
    return tuple(carried)
