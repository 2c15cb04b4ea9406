"""What the MIL reference must catch: damaged programs, weights and states give another result or a one-line error."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ct = pytest.importorskip("coremltools", reason="pip install 'vlmprune[coreml]'; the MIL reference is NOT tested")

from mil_edits import INNER, WEIGHTS, copied, drop, edited, operations  # noqa: E402
from mil_toys import HEADS, WIDTH, Block, Cached, convert, save  # noqa: E402

from vlmprune_runtime.errors import BundleError, EngineError, UnknownName, VlmPruneError  # noqa: E402
from vlmprune_runtime.mil_reference import ReferencePackage  # noqa: E402

COLUMNS = HEADS * WIDTH
PIXELS = np.linspace(-1, 1, 3 * 16 * 16, dtype=np.float32).reshape(1, 3, 16, 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def block(folder: Path) -> Path:
    return convert(Block(), [torch.from_numpy(PIXELS)], folder / "block.mlpackage")


@pytest.fixture(scope="module")
def decoder(folder: Path) -> Path:
    example = [torch.zeros(1, 1, COLUMNS), torch.zeros(1, dtype=torch.int32)]
    return convert(Cached(1), example, folder / "decode.mlpackage", states=("k_toy", "v_toy"))


@pytest.fixture
def broken(block: Path, tmp_path: Path) -> Path:
    return copied(block, tmp_path / "block.mlpackage")


def decoded(package: Path, count: int = 3) -> list[Any]:
    opened, rows = ReferencePackage(package), np.random.default_rng(0).standard_normal((count, 1, 1, COLUMNS))
    return [opened.run("main", {"x0": row, "x1": np.array([nth])})["y0"] for nth, row in enumerate(rows)]


@pytest.mark.parametrize("nth", [0, 1], ids=["keys", "values"])
def test_a_dropped_state_write_shows_in_the_next_step(decoder: Path, tmp_path: Path, nth: int) -> None:
    damaged = copied(decoder, tmp_path / "decode.mlpackage")
    with edited(damaged) as model:
        drop(operations(model), "write_state", nth)
    sound, found = decoded(decoder), decoded(damaged)
    np.testing.assert_array_equal(sound[0], found[0])
    assert min(float(np.abs(one - two).max()) for one, two in zip(sound[1:], found[1:], strict=True)) > 1e-2


def test_a_swapped_weight_shows(block: Path, broken: Path) -> None:
    with edited(broken) as model:
        consts = {one.outputs[0].name: one for one in operations(model) if one.type == "const"}
        up, down = consts["p_up_weight"], consts["p_down_weight"]
        first, second = (one.attributes["val"].blobFileValue for one in (up, down))
        first.offset, second.offset = second.offset, first.offset
    sound, found = (ReferencePackage(one).run("main", {"x0": PIXELS})["y0"] for one in (block, broken))
    assert np.abs(sound - found).max() > 0.1


def test_an_index_in_float16_is_off_beyond_2048(folder: Path) -> None:
    from coremltools.converters.mil import Builder as mb  # noqa: N813
    from coremltools.converters.mil.mil import types

    def looking_up(through: str | None) -> Path:
        @mb.program(input_specs=[mb.TensorSpec((3,), dtype=types.int32)], opset_version=ct.target.iOS18)
        def look_up(places: Any) -> Any:
            table = np.arange(5000, dtype=np.float32)
            if through:
                places = mb.cast(x=mb.cast(x=places, dtype=through), dtype="int32")
            return mb.gather(x=table, indices=places, axis=0)

        return save(look_up, folder / f"look_up_{through}.mlpackage")

    places = np.array([3, 2049, 4097], np.int32)
    found = {}
    for through in (None, "fp16"):
        (found[through],) = ReferencePackage(looking_up(through)).run("main", {"places": places}).values()
    assert found[None].tolist() == [3, 2049, 4097]
    assert found["fp16"].tolist() == [3, 2048, 4096]


def test_unknown_operations_are_named_all_at_once(broken: Path) -> None:
    with edited(broken) as model:
        for one in operations(model):
            one.type = {"gelu": "blend", "layer_norm": "lstm"}.get(one.type, one.type)
            if one.type == "conv":
                one.inputs["flavour"].CopyFrom(one.inputs["x"])
    message = r"block.mlpackage: has operations .* blend in main; conv\(flavour=\) in main; lstm in main"
    with pytest.raises(BundleError, match=message):
        ReferencePackage(broken)


@pytest.mark.parametrize("version", [8, 10])
def test_another_specification_is_refused(broken: Path, version: int) -> None:
    with edited(broken) as model:
        model.specificationVersion = version
    with pytest.raises(BundleError, match=rf"got specification version {version}, this reference reads 9 \(iOS 18\)"):
        ReferencePackage(broken)


def test_a_function_that_is_not_there(block: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown function of block\.mlpackage 'decode'; choose one of: main"):
        ReferencePackage(block).run("decode", {})


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "got inputs none; it has: x0"),
        ({"x0": PIXELS, "x1": PIXELS}, "got inputs x0, x1; it has: x0"),
        ({"x0": PIXELS[:, :2]}, r"x0: got shape \(1, 2, 16, 16\), allowed: \(1, 3, 16, 16\)"),
    ],
)
def test_wrong_inputs_are_refused(block: Path, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        ReferencePackage(block).run("main", inputs)


def test_a_result_of_another_shape_names_the_operation(broken: Path) -> None:
    with edited(broken) as model:
        target = next(one for one in operations(model) if one.type == "gelu")
        target.outputs[0].type.tensorType.dimensions[1].constant.size = 9
    with pytest.raises(EngineError, match="gelu 'gelu': result has shape"):
        ReferencePackage(broken).run("main", {"x0": PIXELS})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda file: file.write_bytes(file.read_bytes()[:-4000]),
            r"weight.bin has no float32 at offset \d+: index out",
        ),
        (lambda file: file.write_bytes(b"\0" * file.stat().st_size), r"weight.bin has no float32 at offset \d+: "),
        (lambda file: file.write_bytes(b""), r"weight.bin has no float32 at offset \d+: "),
        (lambda file: file.unlink(), "weights/weight.bin is missing"),
    ],
)
def test_a_broken_weight_file(broken: Path, change: Any, message: str) -> None:
    change(broken / WEIGHTS)
    with pytest.raises(BundleError, match=message):
        ReferencePackage(broken).run("main", {"x0": PIXELS})


def test_a_state_of_no_known_type_is_refused(decoder: Path, tmp_path: Path) -> None:
    damaged = copied(decoder, tmp_path / "decode.mlpackage")
    with edited(damaged) as model:
        state = next(one for one in model.mlProgram.functions["main"].inputs if one.type.HasField("stateType"))
        state.type.stateType.wrappedType.tensorType.dataType = 0
    with pytest.raises(BundleError, match=r"decode.mlpackage: its state k_toy is of unused_type \(2, 32, 8\)"):
        ReferencePackage(damaged)


@pytest.mark.parametrize("place", ["../../../../secret.bin", "@model_path/../../../../secret.bin"])
def test_weights_outside_the_package_are_not_read(broken: Path, place: str) -> None:
    (broken.parent / "secret.bin").write_bytes(b"\0" * 128)
    with edited(broken) as model:
        for one in operations(model):
            if one.type == "const" and one.attributes["val"].HasField("blobFileValue"):
                one.attributes["val"].blobFileValue.fileName = place
    with pytest.raises(BundleError, match="leads outside the package"):
        ReferencePackage(broken).run("main", {"x0": PIXELS})


@pytest.mark.parametrize("content", [b"", b"\x07", b"\x0a\xff\xff", b"not a model at all"])
def test_a_broken_model_file(broken: Path, content: bytes) -> None:
    (broken / INNER / "model.mlmodel").write_bytes(content)
    with pytest.raises(BundleError, match=r"model.mlmodel cannot be read: "):
        ReferencePackage(broken)


def test_no_package(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is no \.mlpackage"):
        ReferencePackage(tmp_path)


def test_bytes_that_flip_are_never_a_traceback(decoder: Path, tmp_path: Path) -> None:
    damaged = copied(decoder, tmp_path / "decode.mlpackage")
    file, dice = damaged / INNER / "model.mlmodel", np.random.default_rng(0)
    sound, refused = file.read_bytes(), 0
    for _ in range(100):
        flipped = bytearray(sound)
        flipped[dice.integers(len(sound))] = dice.integers(256)
        file.write_bytes(flipped)
        try:
            decoded(damaged, 1)
        except VlmPruneError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 50
