"""Weights fitted to four bits are those that torchao stores."""

import pytest
import torch
from executorch_bundles import WHY
from torch import nn

pytest.importorskip("executorch.runtime", reason=WHY)
from vlmprune_export.backends.executorch.quantise import FITTED, _quantised
from vlmprune_export.gptq import gptq_quantize


def test_fitted_weights_are_stored_without_loss() -> None:
    inputs, layer = torch.randn(400, 64), nn.Linear(64, 48, bias=False)
    layer.weight.data = gptq_quantize(torch.randn(48, 64) - 0.1, inputs.t() @ inputs, FITTED["8da4w"])
    found = _quantised(layer, "8da4w")(torch.eye(64))  # ones and zeros are whole numbers at 8 bits too
    assert torch.allclose(found, layer.weight.t(), atol=1e-5)
