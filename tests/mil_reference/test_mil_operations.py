"""Each operation of the MIL reference against coremltools' own constant folding, or PyTorch where it folds nothing."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from vlmprune_runtime.mil_reference.ops import CONSTEXPR, TABLE
from vlmprune_runtime.mil_reference.weights import unpack_bits

WHY = "pip install 'vlmprune[coreml]'; the MIL reference is NOT tested"
RANDOM = np.random.default_rng(0)


def some(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


A, B, CUBE, SQUARE = some(3, 4), some(3, 4), some(2, 3, 4), some(4, 4)
POSITIVE, WITHIN = np.abs(A) + 0.5, np.clip(A, -0.9, 0.9)
WHOLE, OTHER = np.array([[7, -7, 5], [9, 2, -4]], np.int32), np.array([[2, 2, -3], [4, 5, 3]], np.int32)
TIES = np.array([[2, 1, 2, 3], [0, 0, 5, 5]], np.float32)
PLACES = np.array([[1, 0, 2, 2], [2, 2, 0, 1], [0, 1, 1, 0]], np.int32)

FOLDED: list[tuple[str, dict[str, Any]]] = [
    *((name, {"x": A, "y": B}) for name in ("add", "sub", "mul", "real_div", "maximum", "minimum", "mod", "floor_div")),
    *((name, {"x": WHOLE, "y": OTHER}) for name in ("real_div", "floor_div", "mod", "add", "less", "greater_equal")),
    *((name, {"x": A, "y": B}) for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")),
    *((name, {"x": A > 0, "y": B > 0}) for name in ("logical_and", "logical_or", "logical_xor")),
    ("pow", {"x": POSITIVE, "y": B}),
    *((name, {"x": A}) for name in ("abs", "ceil", "cos", "erf", "exp", "exp2", "floor", "sign", "sin", "square")),
    *((name, {"x": A}) for name in ("tan", "tanh", "atan", "cosh", "sinh", "relu", "relu6", "sigmoid")),
    *((name, {"x": WITHIN}) for name in ("acos", "asin", "atanh")),
    ("round", {"x": np.array([0.5, 1.5, -0.5, 2.4], np.float32)}),
    ("sqrt", {"x": POSITIVE}),
    ("rsqrt", {"x": POSITIVE, "epsilon": np.float32(0.1)}),
    ("log", {"x": POSITIVE, "epsilon": np.float32(0.1)}),
    ("inverse", {"x": POSITIVE, "epsilon": np.float32(0.1)}),
    ("clip", {"x": A, "alpha": np.float32(-0.5), "beta": np.float32(0.25)}),
    ("threshold", {"x": A, "alpha": np.float32(0.25)}),
    ("logical_not", {"x": A > 0}),
    ("cast", {"x": 3 * A, "dtype": "int32"}),
    ("cast", {"x": WHOLE, "dtype": "fp32"}),
    ("cast", {"x": A, "dtype": "bool"}),
    ("select", {"cond": A > 0, "a": A, "b": B}),
    ("softplus", {"x": A}),
    ("softsign", {"x": A}),
    ("elu", {"x": A, "alpha": np.float32(0.5)}),
    ("leaky_relu", {"x": A, "alpha": np.float32(0.2)}),
    ("clamped_relu", {"x": A, "alpha": np.float32(0.2), "beta": np.float32(0.5)}),
    ("linear_activation", {"x": A, "alpha": np.float32(2), "beta": np.float32(0.5)}),
    ("sigmoid_hard", {"x": A, "alpha": np.float32(0.2), "beta": np.float32(0.5)}),
    ("scaled_tanh", {"x": A, "alpha": np.float32(2), "beta": np.float32(0.5)}),
    ("softmax", {"x": CUBE, "axis": 1}),
    ("linear", {"x": A, "weight": some(5, 4), "bias": some(5)}),
    ("matmul", {"x": CUBE, "y": some(2, 4, 3)}),
    ("matmul", {"x": CUBE, "y": some(2, 3, 4), "transpose_x": True}),
    ("matmul", {"x": CUBE, "y": some(2, 3, 4), "transpose_y": True}),
    ("reduce_sum", {"x": CUBE, "axes": [1], "keep_dims": True}),
    ("reduce_mean", {"x": CUBE, "axes": [0, 2], "keep_dims": False}),
    *((name, {"x": CUBE, "axes": [2], "keep_dims": False}) for name in ("reduce_max", "reduce_min", "reduce_prod")),
    *((f"reduce_{name}", {"x": CUBE, "axes": [1]}) for name in ("l1_norm", "l2_norm", "sum_square", "log_sum_exp")),
    ("reduce_log_sum", {"x": np.abs(CUBE), "axes": [1]}),
    ("reduce_argmax", {"x": TIES, "axis": 1, "keep_dims": False}),
    ("reduce_argmin", {"x": TIES, "axis": 1, "keep_dims": True}),
    ("argsort", {"x": A, "axis": 0, "ascending": True}),
    ("argsort", {"x": A, "axis": 1, "ascending": False}),
    ("reshape", {"x": CUBE, "shape": [4, -1]}),
    ("reshape", {"x": A, "shape": [1, 0, -1, 0]}),
    ("expand_dims", {"x": A, "axes": [0, -1]}),
    ("squeeze", {"x": A[:, None], "axes": [1]}),
    ("transpose", {"x": CUBE, "perm": [2, 0, 1]}),
    ("concat", {"values": (A, B), "axis": 1}),
    ("concat", {"values": (np.int32(1), np.int32(2)), "axis": 0}),
    ("stack", {"values": (A, B), "axis": 1}),
    ("split", {"x": A, "axis": 1, "split_sizes": [1, 3]}),
    ("split", {"x": A, "axis": 1, "num_splits": 2}),
    ("tile", {"x": A, "reps": [2, 3]}),
    ("pad", {"x": A, "pad": [1, 2], "mode": "constant", "constant_val": np.float32(2)}),
    ("pad", {"x": A, "pad": [1, 2, 2, 0], "mode": "reflect"}),
    ("pad", {"x": A, "pad": [1, 2, 2, 0], "mode": "replicate"}),
    ("fill", {"shape": [2, 3], "value": np.float32(4)}),
    ("range_1d", {"start": np.int32(1), "end": np.int32(9), "step": np.int32(3)}),
    ("shape", {"x": CUBE}),
    ("reverse", {"x": A, "axes": [1]}),
    ("cumsum", {"x": A, "axis": 1, "exclusive": False, "reverse": False}),
    ("band_part", {"x": SQUARE, "lower": 0, "upper": 1}),
    ("band_part", {"x": SQUARE, "lower": -1, "upper": 0}),
    ("non_zero", {"x": (A > 0).astype(np.float32)}),
    ("identity", {"x": A}),
    ("slice_by_index", {"x": CUBE, "begin": [0, 1, -3], "end": [2, 3, -1], "stride": [1, 1, 2]}),
    ("slice_by_index", {"x": CUBE, "begin": [1, 0, 0], "end": [0, 0, 2], "squeeze_mask": [True, False, False],
                        "end_mask": [False, True, False]}),
    ("slice_by_index", {"x": A, "begin": [0, 3], "end": [3, 0], "stride": [1, -1], "end_mask": [False, True]}),
    ("slice_by_size", {"x": CUBE, "begin": [0, 1, 1], "size": [2, -1, 2]}),
    ("slice_update", {"x": CUBE, "update": some(2, 1, 4), "begin": [0, 1, 0], "end": [2, 2, 4]}),
    ("gather", {"x": CUBE, "indices": np.array([[1, 0], [2, 2]], np.int32), "axis": 1}),
    ("gather", {"x": CUBE, "indices": np.array([[1, 0], [2, 2]], np.int32), "axis": 1, "batch_dims": 1}),
    ("gather_along_axis", {"x": A, "indices": PLACES, "axis": 0}),
]  # fmt: skip


def ran(name: str, arguments: dict[str, Any]) -> tuple[Any, ...]:
    given = {key: value if isinstance(value, tuple) else np.asarray(value) for key, value in arguments.items()}
    found = TABLE[name](**given)
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize(("name", "arguments"), FOLDED, ids=lambda value: value if isinstance(value, str) else "")
def test_as_coremltools_folds_it(name: str, arguments: dict[str, Any]) -> None:
    ct = pytest.importorskip("coremltools", reason=WHY)
    from coremltools.converters.mil import Builder as mb  # noqa: N813

    folded: list[Any] = []

    @mb.program(input_specs=[mb.TensorSpec((1,))], opset_version=ct.target.iOS18)
    def build(unused: Any) -> Any:
        made = getattr(mb, name)(**arguments)
        folded.extend(made if isinstance(made, (tuple, list)) else [made])
        return unused

    for expected, found in zip(folded, ran(name, arguments), strict=True):
        assert expected.val is not None
        as_declared = np.asarray(found).astype(np.asarray(expected.val).dtype)  # as the interpreter does
        np.testing.assert_allclose(as_declared, expected.val, rtol=1e-5, atol=1e-6)


def with_torch(function: Callable[..., Any], *arrays: Any) -> Any:
    return function(*(torch.from_numpy(array) for array in arrays)).numpy()


def test_gelus_are_pytorchs() -> None:
    wide = 3 * some(500)
    for mode, approximate in (("EXACT", "none"), ("TANH_APPROXIMATION", "tanh")):
        expected = with_torch(lambda x, how=approximate: functional.gelu(x, approximate=how), wide)
        np.testing.assert_allclose(ran("gelu", {"x": wide, "mode": mode})[0], expected, atol=1e-6)


@pytest.mark.parametrize(("groups", "stride", "dilation", "pad"), [(1, 1, 1, 0), (2, 2, 1, 1), (4, 1, 2, 2)])
def test_convolution_is_pytorchs(groups: int, stride: int, dilation: int, pad: int) -> None:
    x, weight, bias = some(2, 4, 9, 8), some(8, 4 // groups, 3, 2), some(8)
    expected = with_torch(
        lambda *given: functional.conv2d(*given, stride=stride, padding=pad, dilation=dilation, groups=groups),
        x, weight, bias,
    )  # fmt: skip
    wish = {"pad_type": "custom", "pad": [pad] * 4, "strides": [stride] * 2, "dilations": [dilation] * 2}
    found = ran("conv", {"x": x, "weight": weight, "bias": bias, "groups": groups, **wish})[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_same_padding_is_pytorchs() -> None:
    x, weight = some(1, 2, 7), some(3, 2, 3)
    expected = with_torch(lambda *given: functional.conv1d(*given, padding="same"), x, weight)
    np.testing.assert_allclose(ran("conv", {"x": x, "weight": weight, "pad_type": "same"})[0], expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["none", "bool", "float"])
def test_attention_is_pytorchs(kind: str) -> None:
    query, key, value = some(1, 2, 5, 8), some(1, 2, 7, 8), some(1, 2, 7, 8)
    seen = np.tril(np.ones((5, 7), bool), 2)
    masks = {"none": None, "bool": seen, "float": np.where(seen, 0, -1e4).astype(np.float32)}
    mask = masks[kind]
    expected = functional.scaled_dot_product_attention(
        *(torch.from_numpy(one) for one in (query, key, value)),
        attn_mask=None if mask is None else torch.from_numpy(mask),
    )
    given = {"query": query, "key": key, "value": value} | ({} if mask is None else {"attn_mask": mask})
    np.testing.assert_allclose(ran("scaled_dot_product_attention", given)[0], expected, atol=1e-6)


def test_normalisations_are_pytorchs() -> None:
    gamma, beta, x = some(4), some(4), some(2, 4, 4)
    expected = with_torch(lambda *given: functional.layer_norm(given[0], (4,), *given[1:]), x, gamma, beta)
    given = {"x": x, "axes": [-1], "gamma": gamma, "beta": beta, "epsilon": np.float32(1e-5)}
    np.testing.assert_allclose(ran("layer_norm", given)[0], expected, atol=1e-6)
    mean, variance = some(4), np.abs(some(4))
    expected = with_torch(functional.batch_norm, x, mean, variance, gamma, beta)
    given = {"x": x, "mean": mean, "variance": variance, "gamma": gamma, "beta": beta, "epsilon": np.float32(1e-5)}
    np.testing.assert_allclose(ran("batch_norm", given)[0], expected, atol=1e-5)


def test_what_coremltools_does_not_fold() -> None:
    np.testing.assert_allclose(ran("silu", {"x": A})[0], with_torch(functional.silu, A), atol=1e-6)
    rows = ran("one_hot", {"indices": np.array([2, 0], np.int32), "one_hot_vector_size": 3})[0]
    assert rows.tolist() == [[0, 0, 1], [1, 0, 0]]
    backwards = ran("cumsum", {"x": WHOLE, "axis": 1, "reverse": True})[0]
    assert backwards.tolist() == [[5, -2, 5], [7, -2, -4]]
    assert ran("cumsum", {"x": WHOLE, "axis": 1, "exclusive": True})[0].tolist() == [[0, 7, 0], [0, 9, 11]]
    places = np.array([[1, 2], [0, 1]], np.int32)
    np.testing.assert_array_equal(ran("gather_nd", {"x": CUBE, "indices": places})[0], CUBE[[1, 0], [2, 1]])
    found = ran("gather_nd", {"x": CUBE, "indices": places[:, :1], "batch_dims": 1})[0]
    np.testing.assert_array_equal(found, np.stack([CUBE[0, 1], CUBE[1, 0]]))
    summed = ran("einsum", {"values": (A, B), "equation": "ij,kj->ik"})[0]
    np.testing.assert_allclose(summed, A @ B.T, rtol=1e-5)


def test_topk_is_pytorchs_and_takes_the_first_of_equals() -> None:
    values, places = ran("topk", {"x": A, "k": 2, "axis": 1, "ascending": False, "sort": True})
    expected = torch.from_numpy(A).topk(2, dim=1)
    np.testing.assert_array_equal(values, expected.values)
    np.testing.assert_array_equal(places, expected.indices)
    assert ran("topk", {"x": TIES, "k": 3, "axis": 1})[1].tolist() == [[3, 0, 2], [2, 3, 0]]
    assert ran("topk", {"x": TIES, "k": 3, "axis": 1, "ascending": True})[1].tolist() == [[1, 0, 2], [0, 1, 2]]


@pytest.mark.parametrize("mode", ["update", "add", "max"])
def test_scatters_are_what_they_say(mode: str) -> None:
    data, updates, indices = some(4, 3), some(2, 3), np.array([3, 1], np.int32)
    expected = data.copy()
    for place, row in zip(indices, updates, strict=True):
        expected[place] = {"update": row, "add": data[place] + row, "max": np.maximum(data[place], row)}[mode]
    given = {"data": data, "updates": updates, "mode": mode}
    np.testing.assert_allclose(ran("scatter", {**given, "indices": indices, "axis": 0})[0], expected)
    np.testing.assert_allclose(ran("scatter_nd", {**given, "indices": indices[:, None]})[0], expected)
    along = np.repeat(indices[:, None], 3, 1)
    np.testing.assert_allclose(ran("scatter_along_axis", {**given, "indices": along, "axis": 0})[0], expected)


@pytest.mark.parametrize("place", [-1, 4])
def test_an_index_outside_is_an_error(place: int) -> None:
    with pytest.raises(ValueError, match="in an axis of 4"):
        ran("gather", {"x": SQUARE, "indices": np.array([place], np.int32)})


def test_an_update_of_another_shape_is_an_error() -> None:
    with pytest.raises(ValueError, match="slice has shape"):
        ran("slice_update", {"x": SQUARE, "update": some(1, 4), "begin": [0, 0], "end": [2, 4]})


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6])
def test_types_below_a_byte_are_unpacked_as_coremltools_does(bits: int) -> None:
    pytest.importorskip("coremltools", reason=WHY)
    from coremltools.optimize import _utils

    values = RANDOM.integers(0, 2**bits, 40).astype(np.uint8)
    packed = np.frombuffer(_utils.pack_elements_into_bits(values, bits), np.uint8)
    np.testing.assert_array_equal(unpack_bits(packed, bits, 40, signed=False), values)


def test_compressed_weights_are_as_coremltools_decompresses_them() -> None:
    pytest.importorskip("coremltools", reason=WHY)
    from coremltools.converters.mil.mil.ops.defs.iOS18 import compression

    data, scale = RANDOM.integers(-8, 8, (4, 64)).astype(np.int8), some(4, 2).astype(np.float16)
    offset = RANDOM.integers(-3, 3, (4, 2)).astype(np.int8)
    for shift in (None, offset):
        expected = compression.constexpr_blockwise_shift_scale.decompress(data, scale, shift)
        found = CONSTEXPR["constexpr_blockwise_shift_scale"](data=data, scale=scale, offset=shift)
        np.testing.assert_array_equal(found, expected)
    indices, lut = RANDOM.integers(0, 16, (8, 6)).astype(np.uint8), some(4, 1, 16, 1).astype(np.float16)
    expected = compression.constexpr_lut_to_dense.decompress(indices, lut, None)
    np.testing.assert_array_equal(CONSTEXPR["constexpr_lut_to_dense"](indices=indices, lut=lut), expected)
