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
