"""Whole saved packages in the MIL reference against PyTorch: weights, states, loops, rounding, compression."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ct = pytest.importorskip(
    "coremltools",
    reason="coremltools is not installed: pip install 'vlmprune[coreml]'; the MIL reference is NOT tested",
)

from mil_toys import CAPACITY, HEADS, WIDTH, Block, Cached, convert, join, save  # noqa: E402

from vlmprune_runtime.mil_reference import ReferencePackage  # noqa: E402

ROWS, COLUMNS = 5, HEADS * WIDTH
STATES = ("k_toy", "v_toy")
EMPTY = np.zeros(1, np.int32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="module")
def pixels() -> Any:
    return torch.randn(1, 3, 16, 16)


@pytest.fixture(scope="module", params=[False, True], ids=["float32", "float16"])
def cached(request: pytest.FixtureRequest, folder: Path) -> ReferencePackage:
    """Prefill of five rows and decode of one, as functions of one package."""
    half, slot = request.param, torch.zeros(1, dtype=torch.int32)
    parts = {}
    for name, rows in (("prefill", ROWS), ("decode", 1)):
        out = folder / f"{name}{half}.mlpackage"
        parts[name] = convert(Cached(rows), [torch.zeros(1, rows, COLUMNS), slot], out, half=half, states=STATES)
    return ReferencePackage(join(parts, folder / f"cached{half}.mlpackage"))


def steps(package: ReferencePackage, count: int = 4, past: int = ROWS) -> tuple[list[Any], list[Any]]:
    """Prefill and some decode steps in PyTorch and in the package."""
    prefill, decode = Cached(ROWS), Cached(1)
    rows = [torch.randn(1, ROWS, COLUMNS), *torch.randn(count, 1, 1, COLUMNS)]
    slots = [torch.zeros(1, dtype=torch.int32), *torch.arange(past, past + count, dtype=torch.int32)[:, None]]
    expected, found = [], []
    for nth, (row, slot) in enumerate(zip(rows, slots, strict=True)):
        with torch.no_grad():
            if nth == 1:
                decode.k_toy.copy_(prefill.k_toy)
                decode.v_toy.copy_(prefill.v_toy)
            expected.append((decode if nth else prefill)(row, slot).numpy())
        name = "decode" if nth else "prefill"
        found.append(package.run(name, {"x0": row.numpy(), "x1": slot.numpy()})["y0"])
    return expected, found


def test_a_tower_block_in_float32(folder: Path, pixels: Any) -> None:
    package = ReferencePackage(convert(Block(), [pixels], folder / "block.mlpackage"))
    expected = Block()(pixels).detach().numpy()
    np.testing.assert_allclose(package.run("main", {"x0": pixels.numpy()})["y0"], expected, atol=2e-6)


def test_float16_is_rounded_at_every_operation(folder: Path, pixels: Any) -> None:
    package = ReferencePackage(convert(Block(), [pixels], folder / "half.mlpackage", half=True))
    found = package.run("main", {"x0": pixels.numpy()})["y0"]
    gap = np.abs(found - Block()(pixels).detach().numpy()).max()
    assert 1e-4 < gap < 5e-3
    np.testing.assert_array_equal(found, found.astype(np.float16).astype(np.float32))


def test_states_live_from_call_to_call(cached: ReferencePackage) -> None:
    expected, found = steps(cached)
    assert max(float(np.abs(one - two).max()) for one, two in zip(expected, found, strict=True)) < 2e-3
    filled = np.abs(cached.states["k_toy"]).max(axis=(0, 2)) > 0
    assert filled.tolist() == [True] * (ROWS + 4) + [False] * (CAPACITY - ROWS - 4)


def test_a_state_matters_and_is_forgotten_on_reset(cached: ReferencePackage) -> None:
    row = {"x0": np.ones((1, 1, COLUMNS), np.float32), "x1": np.array([ROWS], np.int32)}
    steps(cached)
    with_past = cached.run("decode", row)["y0"]
    cached.reset()
    assert not any(one.any() for one in cached.states.values())
    without = cached.run("decode", row)["y0"]
    assert np.abs(with_past - without).max() > 1e-2


def test_outputs_are_the_callers(cached: ReferencePackage) -> None:
    given = {"x0": np.ones((1, ROWS, COLUMNS), np.float32), "x1": EMPTY}
    first = cached.run("prefill", given)["y0"]
    first[:] = 7
    assert not (cached.run("prefill", given)["y0"] == 7).any()


def test_loops_branches_and_outer_names(folder: Path) -> None:
    from coremltools.converters.mil import Builder as mb  # noqa: N813

    @mb.program(input_specs=[mb.TensorSpec((4,)), mb.TensorSpec((1,), dtype=ct.converters.mil.mil.types.int32)],
                opset_version=ct.target.iOS18)  # fmt: skip
    def collatz(weights: Any, start: Any) -> Any:
        def going(value: Any, steps: Any, total: Any) -> Any:
            return mb.squeeze(x=mb.not_equal(x=value, y=[1]))

        def halved(value: Any) -> Any:
            return mb.cast(x=mb.floor_div(x=value, y=[2]), dtype="int32")

        def body(value: Any, steps: Any, total: Any) -> Any:
            even = mb.squeeze(x=mb.equal(x=mb.mod(x=value, y=[2]), y=[0]))
            following = mb.cond(
                pred=even,
                _true_fn=lambda: halved(value),
                _false_fn=lambda: mb.add(x=mb.mul(x=value, y=[3]), y=[1]),
            )
            return following, mb.add(x=steps, y=[1]), mb.add(x=total, y=weights)

        zero, empty = mb.sub(x=start, y=start), mb.sub(x=weights, y=weights)
        return mb.while_loop(_cond=going, _body=body, loop_vars=(start, zero, empty))[1:]

    package = ReferencePackage(save(collatz, folder / "loop.mlpackage"))
    weights = np.array([1, 2, 3, 4], np.float32)
    for start, count in ((6, 8), (1, 0), (7, 16)):
        found = list(package.run("main", {"weights": weights, "start": np.array([start], np.int32)}).values())
        assert found[0].tolist() == [count]
        np.testing.assert_array_equal(found[1], count * weights)


def quantised(kind: str) -> Any:
    from coremltools.optimize import coreml as cto

    if kind == "pal4":
        wish = cto.OpPalettizerConfig(mode="kmeans", nbits=4, granularity="per_grouped_channel", group_size=32)
        return lambda model: cto.palettize_weights(model, cto.OptimizationConfig(op_type_configs={"linear": wish}))
    block = {"granularity": "per_block", "block_size": 32} if kind == "int4" else {"granularity": "per_channel"}
    linear = cto.OpLinearQuantizerConfig(mode="linear_symmetric", dtype=kind, weight_threshold=0, **block)
    return lambda model: cto.linear_quantize_weights(model, cto.OptimizationConfig(op_type_configs={"linear": linear}))


@pytest.mark.parametrize(("kind", "least", "most"), [("int8", 1e-4, 2e-2), ("int4", 1e-3, 0.3), ("pal4", 1e-3, 0.3)])
def test_compressed_weights_are_those_of_the_decompressed_model(
    kind: str, least: float, most: float, folder: Path, pixels: Any
) -> None:
    plain = ct.models.MLModel(str(convert(Block(), [pixels], folder / f"{kind}.mlpackage")), skip_model_load=True)
    small = quantised(kind)(plain)
    dense = ct.optimize.coreml.decompress_weights(small)
    outputs = []
    for name, model in (("small", small), ("dense", dense)):
        model.save(str(folder / f"{kind}-{name}.mlpackage"))
        package = ReferencePackage(folder / f"{kind}-{name}.mlpackage")
        outputs.append(package.run("main", {"x0": pixels.numpy()})["y0"])
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-6)
    assert least < np.abs(outputs[0] - Block()(pixels).detach().numpy()).max() < most


def test_the_reader_sees_what_coremltools_wrote(folder: Path, pixels: Any) -> None:
    path = convert(Block(), [pixels], folder / "read.mlpackage", half=True)
    mine = ReferencePackage(path).model.functions["main"]
    spec = ct.models.MLModel(str(path), skip_model_load=True).get_spec()
    function = spec.mlProgram.functions["main"]
    block = function.block_specializations[function.opset]
    assert spec.specificationVersion == 9
    assert [one.type for one in mine.operations] == [one.type for one in block.operations]
    assert [one.inputs.keys() for one in mine.operations] == [dict(one.inputs).keys() for one in block.operations]
    assert list(mine.outputs) == list(block.outputs)
    shapes = [
        tuple(size.constant.size for size in one.outputs[0].type.tensorType.dimensions) for one in block.operations
    ]
    assert [one.outputs[0][1].shape for one in mine.operations] == shapes
