"""Post-training quantisation of a saved graph's matrix multiplications, stage by stage."""

from collections.abc import Callable, Mapping
from pathlib import Path

import onnx
from onnx import TensorProto
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from vlmprune_export.backends.onnx.fused_attention import expose_products
from vlmprune_export.backends.onnx.row_scales import scale_rows
from vlmprune_export.quantisation_grids import BlockGrid, QuantisationGrid

# What each choice does to each stage. The prune stage has no weights and selects in fp32. At int4, vision and head
# stay at 8 bits: with 4 bits there the kept set moves.
PLANS: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "int8": {"vision": "int8", "embed": "int8", "head": "int8", "tail": "int8"},
    "int4": {"vision": "int8", "embed": "int8", "head": "int8", "tail": "int4"},
}
_BLOCK = 32

# The tail's weights are on such values when it is captured, and the quantiser finds them.
FITTED: Mapping[str, QuantisationGrid] = {"int4": BlockGrid(_BLOCK, lowest=0, highest=15, zero_point=True)}


def quantise(source: Path, target: Path, kind: str) -> None:
    """Write the quantised graph of `source` to `target`, weights beside it in `target`.data."""
    _KINDS[kind](source, target)


def _int8(source: Path, target: Path) -> None:
    """8-bit weights per column, activations 8-bit per token at run time."""
    scaled, raw = target.with_suffix(".scaled"), target.with_suffix(".raw")
    model = onnx.load(str(source))
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
    """4-bit weights in blocks of 32 with a zero point, activations 8-bit per block (accuracy level 4)."""
    quantizer = MatMulNBitsQuantizer(onnx.load(str(source)), block_size=_BLOCK, is_symmetric=False, accuracy_level=4)
    quantizer.process()
    _save(quantizer.model.model, target)


def _save(model: onnx.ModelProto, target: Path) -> None:
    onnx.save_model(
        model, str(target), save_as_external_data=True, all_tensors_to_one_file=True,
        location=f"{target.name}.data", size_threshold=1024,
    )  # fmt: skip


_KINDS: Mapping[str, Callable[[Path, Path], None]] = {"int8": _int8, "int4": _int4}
