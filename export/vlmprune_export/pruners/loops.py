"""How one step is repeated: the same tensors and the same arithmetic in every form.

Not exporting, Python repeats the step until nothing is left to do. While exporting:

- "while": `torch.while_loop`, which the ONNX exporter turns into a Loop that stops early (ONNX Runtime).
- "scan": `torch.scan`, a fixed number of steps of which the last do nothing (ExecuTorch emits scan and cond,
  but no while_loop).
- "unrolled": the step written out without control flow, for what has no loop at all. Large: tests only.
"""

from collections.abc import Callable
from typing import Literal, cast, get_args

import torch
from torch import Tensor
from torch._higher_order_ops import scan, while_loop

State = tuple[Tensor, ...]
LoopForm = Literal["while", "scan", "unrolled"]
LOOP_FORMS: tuple[str, ...] = get_args(LoopForm)

_while_loop: Callable[..., State] = while_loop


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
        return _repeat_eagerly(step, unfinished, state, steps)
    if form == "while":
        return _while_loop(lambda *s: unfinished(s), lambda *s: step(s), state)
    if form == "scan":
        return _repeat_scan(step, unfinished, state, steps)
    for _ in range(steps):
        after = step(state)
        state = tuple(torch.where(unfinished(state), new, old) for new, old in zip(after, state, strict=True))
    return state


def value_or(
    found: Tensor, value: Tensor, other: Callable[[Tensor], Tensor], argument: Tensor, form: LoopForm
) -> Tensor:
    """`value`, or `other(argument)` if not found; where it can be, the latter is computed only then."""
    if not torch.compiler.is_exporting():
        return value if bool(found) else other(argument)
    # The ONNX exporter of torch 2.13 cannot nest a branch in a while_loop: it gives the domain of its
    # sub-graphs two versions ("Opset mismatch when inlining function"). In a scan it can.
    if form == "scan":
        (chosen,) = torch.cond(found, lambda v, a: (v.clone(),), lambda v, a: (other(a),), (value, argument))
        return cast(Tensor, chosen)
    return torch.where(found, value, other(argument))


def _repeat_eagerly(
    step: Callable[[State], State], unfinished: Callable[[State], Tensor], state: State, steps: int
) -> State:
    for _ in range(steps):
        if not bool(unfinished(state)):
            break
        state = step(state)
    return state


def _repeat_scan(
    step: Callable[[State], State], unfinished: Callable[[State], Tensor], state: State, steps: int
) -> State:
    def stay(*old: Tensor) -> State:
        return tuple(value.clone() for value in old)

    # A scan runs over something and stacks something: one number a step serves as both.
    def body(carried: list[Tensor], tick: Tensor) -> tuple[list[Tensor], Tensor]:
        old = tuple(carried)
        return list(torch.cond(unfinished(old), lambda *s: tuple(step(s)), stay, old)), tick.clone()

    carried, _ = scan(body, list(state), torch.zeros(steps, 1))
    return tuple(carried)
