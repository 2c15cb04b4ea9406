"""Weights fitted to few values come out of a package as they went in."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

ct = pytest.importorskip("coremltools", reason="coremltools is not installed: pip install 'vlmprune[coreml]'")
from mil_toys import convert  # noqa: E402

from vlmprune_export.backends.coreml.capture import CapturedFunction  # noqa: E402
from vlmprune_export.backends.coreml.compress import FITTED, compress  # noqa: E402
from vlmprune_export.backends.coreml.convert import convert as converted  # noqa: E402
from vlmprune_export.gptq import gptq_quantize  # noqa: E402
from vlmprune_runtime.mil_reference import ReferencePackage  # noqa: E402


@pytest.mark.parametrize("kind", FITTED)
def test_fitted_weights_are_stored_without_loss(kind: str, tmp_path: Path) -> None:
    layers = nn.Sequential(nn.Linear(64, 32, bias=False), nn.Linear(32, 32, bias=False))
    layers[0].weight.data = gptq_quantize(torch.randn(32, 64), torch.eye(64), FITTED[kind])
    layers[1].weight.data = torch.eye(32)  # the last is in 8 bits, which hold it exactly
    rows = torch.eye(64)
    packages = [convert(layers, [rows], tmp_path / "plain.mlpackage"), tmp_path / "small.mlpackage"]
    program = torch.export.export(layers.eval(), (rows,)).run_decompositions({})
    small = converted(CapturedFunction(program, {"x0": rows}, ("y0",)), half=True, deployment="ios18")
    compress(small, "tail", kind).save(str(packages[1]))
    outputs = [ReferencePackage(package).run("main", {"x0": rows.numpy()})["y0"] for package in packages]
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=2e-3, atol=1e-6)  # float16 of a scale


def test_a_bias_that_equals_a_norms_shift_keeps_nobody_from_8_bits(tmp_path: Path) -> None:
    """Equal constants become one, which a linear layer and a norm read with different configurations."""
    layers = nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 64), nn.Linear(64, 64)).eval()
    for layer in layers:
        layer.bias.data.zero_()
    rows = torch.randn(5, 64)
    program = torch.export.export(layers, (rows,)).run_decompositions({})
    model = converted(CapturedFunction(program, {"x0": rows}, ("y0",)), half=True, deployment="ios18")
    model = compress(model, "vision", "int8")
    kinds = [operation.op_type for operation in model._mil_program.functions["main"].operations]
    assert kinds.count("constexpr_blockwise_shift_scale") == 2
    model.save(str(tmp_path / "small.mlpackage"))
    measured = ReferencePackage(tmp_path / "small.mlpackage").run("main", {"x0": rows.numpy()})["y0"]
    np.testing.assert_allclose(measured, layers(rows).detach().numpy(), atol=0.02)
