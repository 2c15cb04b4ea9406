"""Repeats a step, with the same tensors and the same arithmetic in every control flow.

In eager mode Python repeats the step until nothing is left to do. While exporting the control flows are:

- "while": `torch.while_loop`, which the ONNX exporter turns into a Loop that stops early (ONNX Runtime).
- "while-cond": the same, with branches inside the step (Core ML).
- "scan": `torch.scan`, a fixed number of steps of which the last do nothing (ExecuTorch emits scan and cond,
  but no while_loop).
- "unrolled": the step written out without control flow, for a backend without loops. Its graphs are large.
"""

from collections.abc import Callable
from typing import Literal, cast, get_args

import torch
from torch import Tensor
from torch._higher_order_ops import scan, while_loop

State = tuple[Tensor, ...]
ControlFlow = Literal["while", "while-cond", "scan", "unrolled"]
CONTROL_FLOWS: tuple[str, ...] = get_args(ControlFlow)

_while_loop: Callable[..., State] = while_loop


def repeat(
    step: Callable[[State], State],
    state: State,
    *,
    steps: int,
    control_flow: ControlFlow,
    unfinished: Callable[[State], Tensor] | None = None,
) -> State:
    """Returns the state after `steps` steps, or as soon as it is no longer `unfinished`.

    `step` is a plain function of tensors that keeps their number, shapes and dtypes and returns new tensors (a clone
    of a tensor that does not change); it may read other tensors around it. What the state carries has fixed sizes:
    ExecuTorch cannot carry a tensor as long as the text. `unfinished` gives () bool and ends the loop
    early where the control flow can; `steps` must be a number that always suffices for it.

    Raises `ValueError` in a "scan" whose state has a size that is not fixed.
    """
    if control_flow == "scan" and torch.compiler.is_exporting():
        _check_sizes(state)
    if unfinished is None:
        return _repeat_exactly(step, state, steps, control_flow)
    if not torch.compiler.is_exporting():
        return _repeat_eagerly(step, unfinished, state, steps)
    if control_flow in ("while", "while-cond"):
        return _while_loop(lambda *s: unfinished(s), lambda *s: step(s), state)
    if control_flow == "scan":
        return _repeat_scan(step, unfinished, state, steps)
    for _ in range(steps):
        after = step(state)
        state = tuple(torch.where(unfinished(state), new, old) for new, old in zip(after, state, strict=True))
    return state


def _check_sizes(state: State) -> None:
    """Refuses what ExecuTorch would lower and load, and fail at when it runs (error 0x12, in `op_copy`)."""
    for number, value in enumerate(state):
        if any(isinstance(size, torch.SymInt) for size in value.shape):
            raise ValueError(
                f"the loop's state {number} has the sizes {tuple(map(str, value.shape))}, of which one is not fixed; "
                "read such a tensor around the step, and compute again what depends on it"
            )


def value_or(
    condition: Tensor, value: Tensor, other: Callable[[Tensor], Tensor], argument: Tensor, control_flow: ControlFlow
) -> Tensor:
    """Returns `value` if the condition holds, else `other(argument)`, which is computed only then where possible."""
    if not torch.compiler.is_exporting():
        return value if bool(condition) else other(argument)
    # The ONNX exporter of torch 2.13 cannot nest a branch in a while_loop: it gives the domain of its
    # sub-graphs two versions ("Opset mismatch when inlining function"). In a scan it can.
    if control_flow in ("scan", "while-cond"):
        (chosen,) = torch.cond(condition, lambda v, a: (v.clone(),), lambda v, a: (other(a),), (value, argument))
        return cast(Tensor, chosen)
    return torch.where(condition, value, other(argument))


def _repeat_exactly(step: Callable[[State], State], state: State, steps: int, control_flow: ControlFlow) -> State:
    if torch.compiler.is_exporting() and control_flow in ("while", "while-cond"):
        counted = (*state, torch.zeros((), dtype=torch.int64))
        return _while_loop(lambda *s: s[-1] < steps, lambda *s: (*step(s[:-1]), s[-1] + 1), counted)[:-1]
    if torch.compiler.is_exporting() and control_flow == "scan":
        carried, _ = scan(lambda c, tick: (list(step(tuple(c))), tick.clone()), list(state), torch.zeros(steps, 1))
        return tuple(carried)
    for _ in range(steps):
        state = step(state)
    return state


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

    # A scan must read a slice and stack an output per step: one number serves as both.
    def body(carried: list[Tensor], tick: Tensor) -> tuple[list[Tensor], Tensor]:
        old = tuple(carried)
        return list(torch.cond(unfinished(old), lambda *s: tuple(step(s)), stay, old)), tick.clone()

    carried, _ = scan(body, list(state), torch.zeros(steps, 1))
    return tuple(carried)
