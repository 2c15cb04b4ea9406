"""Converts a captured function to a Core ML model in memory."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from vlmprune_export.backends.coreml.capture import CapturedFunction
from vlmprune_export.backends.coreml.compute_precision import may_be_half
from vlmprune_export.quiet_libraries import quiet
from vlmprune_runtime.progress import Report, silent

with quiet(logging.ERROR):  # the import warns about everything that needs macOS
    import coremltools as ct
    from coremltools.converters.mil.mil import Program
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    from vlmprune_export.backends.coreml.control_flow import mark_control_flow

__all__ = ["TARGETS", "Model", "SSAOpRegistry", "convert", "ct", "loops_allowed"]

Model = Any  # coremltools' MLModel; the package has no types
TARGETS: Mapping[str, Any] = {"ios18": ct.target.iOS18, "macos15": ct.target.macOS15}
INTEGERS = ("kept", "rank", "count")
_DTYPES = {torch.float32: np.float32, torch.int32: np.int32}


def convert(captured: CapturedFunction, *, half: bool, deployment: str, report: Report = silent) -> Model:
    """Converts the program to the function `main`: fp32 and int32 at its edges, inside fp16 or fp32, states in fp16.

    Indices stay int32: the pass that makes them int16 is left out. `report` gets each operation and pass.
    """
    pipeline = ct.PassPipeline.DEFAULT
    pipeline.remove_passes({"common::add_int16_cast"})
    states = [_state(name, shape) for name, shape in captured.states.items()]
    mark_control_flow(captured.program.graph_module)
    with quiet(logging.ERROR, report), loops_allowed():
        return ct.convert(
            captured.program,
            inputs=[_tensor(name, value) for name, value in captured.inputs.items()],
            outputs=[_output(name) for name in captured.outputs],
            states=states or None,
            minimum_deployment_target=TARGETS[deployment],
            compute_precision=_precision(half),
            pass_pipeline=pipeline,
            skip_model_load=True,
        )


def _precision(half: bool) -> Any:
    return ct.transform.FP16ComputePrecision(op_selector=may_be_half) if half else ct.precision.FLOAT32


def _tensor(name: str, value: torch.Tensor) -> Any:
    return ct.TensorType(name, tuple(value.shape), dtype=_DTYPES[value.dtype])


def _output(name: str) -> Any:
    return ct.TensorType(name, dtype=np.int32 if name in INTEGERS else np.float32)


def _state(name: str, shape: tuple[int, ...]) -> Any:
    return ct.StateType(ct.TensorType(shape=shape, dtype=np.float16), name=name)


@contextlib.contextmanager
def loops_allowed() -> Iterator[None]:
    """Leaves out coremltools' table for debuggers, which fails on a program with a loop."""
    before = Program.construct_debug_handle_to_ops_mapping
    Program.construct_debug_handle_to_ops_mapping = lambda self: {}
    try:
        yield
    finally:
        Program.construct_debug_handle_to_ops_mapping = before
