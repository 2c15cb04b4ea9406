"""Decides which operations compute in fp32 although the rest is fp16."""

from typing import Any

NORM = {"pow", "reduce_mean", "rsqrt"}


def may_be_half(operation: Any) -> bool:
    """Returns False for the parts of an RMS norm up to its product with the reciprocal root.

    The squares of values above 255 leave the range of fp16, and a decoder's residual stream has such values.
    """
    if operation.op_type in NORM:
        return False
    if operation.op_type == "add":
        return not any(child.op_type == "rsqrt" for child in operation.outputs[0].child_ops)
    if operation.op_type == "mul":
        return not any(_made_by(operation.inputs[side], "rsqrt") for side in ("x", "y"))
    return True


def _made_by(variable: Any, op_type: str) -> bool:
    return variable.op is not None and variable.op.op_type == op_type
