"""Each control flow is captured and, as an ONNX graph, keeps what eager torch keeps, ties included."""

import numpy as np
import pytest
import torch

from sessions import session_of
from vlmprune_export.pruners import CONTROL_FLOWS, build_pruner

GRID, KEEP = (3, 5), 6
SETTINGS = {"pivots": 2, "batch": 4, "channels": 8, "threshold_step": 0.3}


def exact_features():
    """Vectors with many equal scores, whose cosines are exact in fp32 whatever the order of summation."""
    codes = torch.tensor([0, 0, 1, 1, 2, 0, 3, 3, 1, 0, 2, 2, 0, 1, 3])
    rows = torch.zeros(4, 12)
    rows[0, 0] = rows[1, 1] = 1
    rows[2, :4] = rows[3, 2:6] = 1
    return rows[codes], rows[codes.flip(0), :6].contiguous()


def random_features(seed):
    noise = torch.Generator().manual_seed(seed)
    return torch.randn(15, 12, generator=noise) + 1, torch.randn(15, 6, generator=noise)


def captured(control_flow, strict):
    pruner = build_pruner("vlm-pruner", grid=GRID, keep=KEEP, settings=SETTINGS, control_flow=control_flow).eval()
    return pruner, torch.export.export(pruner, random_features(0), strict=strict)


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
@pytest.mark.parametrize(
    "control_flow", [flow for flow in CONTROL_FLOWS if flow != "while-cond"]
)  # a branch in a loop: Core ML
def test_onnx_runtime_keeps_what_eager_keeps(control_flow, strict):
    pruner, program = captured(control_flow, strict)
    onnx = torch.onnx.export(program, dynamo=True, opset_version=21, verbose=False, input_names=["hidden", "keys"])
    session = session_of(onnx.model_proto.SerializeToString())
    for hidden, keys in [exact_features(), *map(random_features, range(8))]:
        kept, fused, order = session.run(None, {"hidden": hidden.numpy(), "keys": keys.numpy()})
        eager = pruner(hidden, keys)
        assert kept.tolist() == eager[0].tolist() and order.tolist() == eager[2].tolist()
        np.testing.assert_allclose(fused, eager[1], atol=1e-5)


@pytest.mark.parametrize("control_flow", CONTROL_FLOWS)
def test_the_captured_program_keeps_what_eager_keeps(control_flow):
    pruner, program = captured(control_flow, strict=False)
    for features in map(random_features, range(3)):
        for ours, eager in zip(program.module()(*features), pruner(*features), strict=True):
            torch.testing.assert_close(ours, eager)


def test_only_the_while_loops_stop_early():
    programs = {control_flow: captured(control_flow, strict=False)[1] for control_flow in CONTROL_FLOWS}
    kinds = {
        control_flow: program.graph_module.print_readable(print_output=False)
        for control_flow, program in programs.items()
    }
    assert "higher_order.while_loop" in kinds["while"] and "higher_order.cond" not in kinds["while"]
    assert "higher_order.while_loop" in kinds["while-cond"] and "higher_order.cond" in kinds["while-cond"]
    assert "higher_order.scan" in kinds["scan"]
    assert "higher_order" not in kinds["unrolled"]


@pytest.mark.parametrize("control_flow", CONTROL_FLOWS)
def test_a_graph_with_nothing_to_prune_passes_through(control_flow):
    pruner = build_pruner("vlm-pruner", grid=GRID, keep=15, control_flow=control_flow).eval()
    hidden, keys = random_features(0)
    kept, fused, _ = torch.export.export(pruner, (hidden, keys)).module()(hidden, keys)
    assert kept.tolist() == list(range(15)) and torch.equal(fused, hidden)
