"""Compresses the weights of a converted function: linear layers and the embedding table, by kind of operation.

The operations are named one by one, because compressing every constant would also take masks, rotary tables and the
pruner's distances.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vlmprune_export.backends.coreml.convert import Model, ct, loops_allowed
from vlmprune_export.backends.coreml.lookup_table import lookup_table
from vlmprune_export.backends.float_weights import FloatWeight
from vlmprune_export.quantisation_grids import BlockGrid, LutGrid, QuantisationGrid
from vlmprune_export.quiet_libraries import quiet
from vlmprune_runtime.progress import Report, silent

BLOCK = 32  # inputs that share a scale at int4
GROUP = 1  # output channels that share a look-up table at pal4; 16 made the error of the logits three times as large

# Stages before pruning have 8 bits: fewer change the features by which the pruner chooses.
PLANS: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "int8": {"vision": "int8", "embed": "int8", "head": "int8", "tail": "int8"},
    "int4": {"vision": "int8", "embed": "int8", "head": "int8", "tail": "int4"},
    "pal4": {"vision": "int8", "embed": "int8", "head": "int8", "tail": "pal4"},
}

# The tail's weights lie on these grids when it is converted, except those of the language-model head.
FITTED: Mapping[str, QuantisationGrid] = {"int4": BlockGrid(BLOCK), "pal4": LutGrid(GROUP)}


def compress(model: Model, stage: str, kind: str | None, report: Report = silent) -> Model:
    """Returns the model with the weights of its linear layers, in `embed` of its table, compressed as `kind` says.

    At 4 bits the language-model head, the tail's last linear layer, has 8.
    """
    if kind is None:
        return model
    with quiet(logging.ERROR, report), loops_allowed():
        if stage == "embed":
            return _quantised(model, {"gather": _int8()}, {})
        if kind == "int8" or stage != "tail":
            return _quantised(model, {"linear": _int8()}, {})
        return _four_bits(model, kind)


def operators(model: Model) -> set[str]:
    """Returns the kinds of operations of a converted function."""
    return {operation.op_type for operation in _operations(model) if operation.op_type != "const"}


def float_weights(model: Model) -> Iterator[FloatWeight]:
    """Yields the floating-point weights of a converted function; the scales of quantised ones are none."""
    for operation in _operations(model):
        if operation.op_type != "const":
            continue
        readers = [reader.op_type for output in operation.outputs for reader in output.child_ops]
        value = operation.outputs[0].val
        floating = isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size > 1
        if floating and readers and not any(reader.startswith("constexpr") for reader in readers):
            bias = " bias" if value.ndim == 1 and readers[0] == "linear" else ""
            yield FloatWeight(readers[0] + bias, value.size, value.nbytes)


def _operations(model: Model) -> Any:
    return model._mil_program.functions["main"].operations


def _four_bits(model: Model, kind: str) -> Model:
    eight = dict.fromkeys(_eight_bit_layers(model, kind), _int8())
    if kind == "int4":
        return _quantised(model, {"linear": _int4()}, eight)
    four = _config(model, {"linear": _pal4()}, dict.fromkeys(eight))
    return _quantised(ct.optimize.coreml.palettize_weights(model, four), {}, eight)


def _eight_bit_layers(model: Model, kind: str) -> list[str]:
    """Returns the language-model head, and layers that do not divide into whole blocks."""
    layers = [layer for layer in model._mil_program.functions["main"].operations if layer.op_type == "linear"]
    return [layer.name for layer in layers if layer is layers[-1] or not FITTED[kind].fits(layer.weight.shape)]


def _quantised(model: Model, kinds: dict[str, Any], names: dict[str, Any]) -> Model:
    return ct.optimize.coreml.linear_quantize_weights(model, _config(model, kinds, names))


def _config(model: Model, kinds: dict[str, Any], names: dict[str, Any]) -> Any:
    """Returns the configuration by kind and by name of operation.

    A constant that operations of several configurations read stays as it is, for coremltools refuses it: equal
    constants are one, so that a linear layer may read its bias of zeros together with a layer norm.
    """
    shared = dict[str, Any]()
    for constant in model._mil_program.functions["main"].find_ops(op_type="const"):
        readers = [reader for output in constant.outputs for reader in output.child_ops]
        configs = [names.get(reader.name, kinds.get(reader.op_type)) for reader in readers]
        if any(config != configs[0] for config in configs):
            shared[constant.name] = None
    return ct.optimize.coreml.OptimizationConfig(op_type_configs=kinds, op_name_configs=names | shared)


def _int8() -> Any:
    """Returns the config with a scale per output channel, or per row of a table."""
    return ct.optimize.coreml.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8", granularity="per_channel")


def _int4() -> Any:
    """Returns the config with a scale per output channel and block of inputs."""
    return ct.optimize.coreml.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype="int4", granularity="per_block", block_size=BLOCK
    )


def _pal4() -> Any:
    """Returns the config with a look-up table of 16 values per group of output channels."""
    return ct.optimize.coreml.OpPalettizerConfig(
        mode="custom", lut_function=lookup_table, granularity="per_grouped_channel", group_size=GROUP
    )
