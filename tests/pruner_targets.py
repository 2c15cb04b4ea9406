"""A pruner alone on each target: lowered without a model around it, and run on one set of inputs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sessions import session_of
from vlmprune_export.pruners import Pruner

FREE = {"text": "text_tokens", "all": "tokens"}


def names_of(pruner: Pruner) -> list[str]:
    """Names of the inputs, in order."""
    return [need.name for need in pruner.needs]


def dynamic_shapes(pruner: Pruner) -> tuple[Any, ...]:
    """Which dimensions of the inputs are free: those of the text, and those of the whole sequence."""
    dims = {name: torch.export.Dim(name, min=1, max=4096) for name in FREE.values()}
    return tuple({0: dims[FREE[need.tokens]]} if need.tokens in FREE else None for need in pruner.needs)


def run_onnx(pruner: Pruner, inputs: Sequence[Tensor], folder: Path) -> list[Any]:
    """Returns what ONNX Runtime gives, for a text of another length than the one in the export."""
    auto = tuple(free and {0: torch.export.Dim.AUTO} for free in dynamic_shapes(pruner))
    program = torch.export.export(pruner.eval(), longer(pruner, inputs), dynamic_shapes=auto, strict=False)
    graph = torch.onnx.export(program, dynamo=True, opset_version=21, verbose=False, input_names=names_of(pruner))
    assert graph is not None
    feeds = {name: value.numpy() for name, value in zip(names_of(pruner), inputs, strict=True)}
    return list(session_of(graph.model_proto.SerializeToString()).run(None, feeds))


def run_executorch(pruner: Pruner, inputs: Sequence[Tensor], folder: Path) -> list[Any]:
    """Returns what ExecuTorch gives, with XNNPACK, for a text of another length than the one in the export."""
    from vlmprune_export.backends.executorch.lower import lower_programs
    from vlmprune_export.backends.executorch.partition import BACKENDS
    from vlmprune_runtime.engines.executorch_packages import load_packages

    pruner.control_flow, shapes = "scan", dynamic_shapes(pruner)
    program = torch.export.export(pruner.eval(), longer(pruner, inputs), dynamic_shapes=shapes, strict=False)
    pruner.control_flow = "while"
    partitioners = {"prune": BACKENDS["xnnpack"].partitioners_of("prune")}
    lower_programs({"prune": program}, partitioners, {}, "xnnpack", folder / "prune.pte")
    method = load_packages(None).runtime.load_program(folder / "prune.pte").load_method("prune")
    return [value.numpy() for value in method.execute(list(inputs))]


def run_coreml(pruner: Pruner, inputs: Sequence[Tensor], folder: Path) -> list[Any]:
    """Returns what the saved package gives in the MIL reference; text is padded by three tokens, all by three."""
    from vlmprune_export.backends.coreml.capture import capture_pruner
    from vlmprune_export.backends.coreml.convert import convert
    from vlmprune_export.backends.coreml.package import save_function
    from vlmprune_runtime.mil_reference import ReferencePackage

    whole = [value if value.is_floating_point() else value.to(torch.int32) for value in inputs]
    padded = dict(zip(names_of(pruner), longer(pruner, whole), strict=True))
    captured = capture_pruner(pruner.eval(), padded, unrolled=False)
    save_function(convert(captured, half=False, deployment="ios18"), folder / "prune.mlpackage")
    opened = ReferencePackage(folder / "prune.mlpackage")
    given = {name: padded[name].numpy() for name, _ in opened.model.functions["main"].inputs}
    outputs = opened.run("main", given)
    return [outputs[name] for name in pruner.outputs]


def longer(pruner: Pruner, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The inputs with three more rows wherever a text is."""
    return tuple(_padded(need.tokens, value) for need, value in zip(pruner.needs, inputs, strict=True))


def _padded(of: str, value: Tensor) -> Tensor:
    if of not in FREE:
        return value
    return torch.cat([value, torch.zeros(3, *value.shape[1:], dtype=value.dtype)])


RUNS = {"onnx": run_onnx, "executorch": run_executorch, "coreml": run_coreml}


def assert_equal_to_eager(pruner: Pruner, inputs: Sequence[Tensor], measured: Sequence[Any]) -> None:
    """The same tokens in the same order, and their rows within rounding."""
    kept, fused, *counted = pruner(*inputs)
    assert np.asarray(measured[0]).tolist() == kept.tolist()
    assert [np.asarray(value).tolist() for value in measured[2:]] == [value.tolist() for value in counted]
    np.testing.assert_allclose(measured[1], fused.numpy(), atol=1e-4)
