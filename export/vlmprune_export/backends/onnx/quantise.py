"""Quantises the matrix multiplications of a saved graph after training, stage by stage."""

from collections.abc import Callable, Mapping
from pathlib import Path

import onnx
from onnx import TensorProto
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from vlmprune_export.backends.onnx.fused_attention import expose_products
from vlmprune_export.backends.onnx.row_scales import scale_rows, split_gemms
from vlmprune_export.quantisation_grids import BlockGrid, QuantisationGrid

# How each quantisation treats each stage. The prune stage has no weights and selects in fp32. At int4, vision and head
# have 8 bits, because 4 bits there change the kept set.
PLANS: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "int8": {"vision": "int8", "embed": "int8", "head": "int8", "tail": "int8"},
    "int4": {"vision": "int8", "embed": "int8", "head": "int8", "tail": "int4"},
}
_BLOCK = 32

# The tail's weights lie on this grid when it is captured, so that the quantiser derives the same scales.
FITTED: Mapping[str, QuantisationGrid] = {"int4": BlockGrid(_BLOCK, lowest=0, highest=15, zero_point=True)}


def quantise(source: Path, target: Path, kind: str) -> None:
    """Writes the quantised graph of `source` to `target`, with its weights beside it in `target`.data."""
    _KINDS[kind](source, target)


def _int8(source: Path, target: Path) -> None:
    """Quantises weights to 8 bits per column, and activations to 8 bits per token at run time."""
    scaled, raw = target.with_suffix(".scaled"), target.with_suffix(".raw")
    model = onnx.load(str(source))
    split_gemms(model)
    expose_products(model)
    scale_rows(model)
    _save(model, scaled)
    quantize_dynamic(
        scaled, raw, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"],
        use_external_data_format=True,
        extra_options={"DefaultTensorType": TensorProto.FLOAT},  # ONNX cannot infer types behind com.microsoft nodes
    )  # fmt: skip
    model = onnx.load(str(raw))
    for leftover in [*target.parent.glob(f"{raw.name}*"), *target.parent.glob(f"{scaled.name}*")]:
        leftover.unlink()
    _save(model, target)


def _int4(source: Path, target: Path) -> None:
    """Quantises weights to 4 bits in blocks of 32 with a zero point, activations to 8 bits (accuracy level 4)."""
    model = onnx.load(str(source))
    split_gemms(model)
    quantizer = MatMulNBitsQuantizer(model, block_size=_BLOCK, is_symmetric=False, accuracy_level=4)
    quantizer.process()
    _save(quantizer.model.model, target)


def _save(model: onnx.ModelProto, target: Path) -> None:
    onnx.save_model(
        model, str(target), save_as_external_data=True, all_tensors_to_one_file=True,
        location=f"{target.name}.data", size_threshold=1024,
    )  # fmt: skip


_KINDS: Mapping[str, Callable[[Path, Path], None]] = {"int8": _int8, "int4": _int4}
