"""Computes each MIL operation in numpy, in a function that has the operation's name and arguments.

The docstring of each function is the formula of its result.

Arrays of float16 come and go as float32 whose every value is a float16 value; the interpreter rounds results.
"""

from collections.abc import Callable
from typing import Any

from vlmprune_runtime.mil_reference.ops.activation import ACTIVATION
from vlmprune_runtime.mil_reference.ops.constexpr import CONSTEXPR
from vlmprune_runtime.mil_reference.ops.elementwise import ELEMENTWISE
from vlmprune_runtime.mil_reference.ops.gathering import GATHERING
from vlmprune_runtime.mil_reference.ops.linear import LINEAR
from vlmprune_runtime.mil_reference.ops.reduction import REDUCTION
from vlmprune_runtime.mil_reference.ops.slicing import SLICING
from vlmprune_runtime.mil_reference.ops.tensor import TENSOR

Function = Callable[..., Any]
# `const` and the two kinds of steps below are the interpreter's own: they need blocks or states.
CONTROL = ("cond", "while_loop")
STATE = {"read_state": "input", "write_state": "input", "coreml_update_state": "state"}  # which argument it is
TABLE: dict[str, Function] = {**ELEMENTWISE, **ACTIVATION, **LINEAR, **REDUCTION, **TENSOR, **SLICING, **GATHERING}
KNOWN = {"const", *CONTROL, *STATE, *TABLE, *CONSTEXPR}
# Results that are copies of inputs: nothing to round.
MOVES = {*TENSOR, *SLICING, *GATHERING} - {"cumsum", "range_1d", "fill", "scatter", "scatter_nd", "scatter_along_axis"}
