"""Compresses the weights of a converted function: linear layers and the embedding table, by kind of operation.

The operations are named one by one, because compressing every constant would also take masks, rotary tables and the
pruner's distances.
"""

import logging
from collections.abc import Mapping
from typing import Any

from vlmprune_export.backends.coreml.convert import Model, ct, loops_allowed
from vlmprune_export.backends.coreml.lookup_table import lookup_table
from vlmprune_export.quantisation_grids import BlockGrid, LutGrid, QuantisationGrid
from vlmprune_export.quiet_libraries import quiet

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


def compress(model: Model, stage: str, kind: str | None) -> Model:
    """Returns the model with the weights of its linear layers, in `embed` of its table, compressed as `kind` says.

    At 4 bits the language-model head, the tail's last linear layer, has 8.
    """
    if kind is None:
        return model
    with quiet(logging.ERROR), loops_allowed():
        if stage == "embed":
            return _quantised(model, {"gather": _int8()}, {})
        if kind == "int8" or stage != "tail":
            return _quantised(model, {"linear": _int8()}, {})
        return _four_bits(model, kind)


def _four_bits(model: Model, kind: str) -> Model:
    eight = dict.fromkeys(_eight_bit_layers(model, kind), _int8())
    if kind == "int4":
        return _quantised(model, {"linear": _int4()}, eight)
    four = ct.optimize.coreml.OptimizationConfig(
        op_type_configs={"linear": _pal4()}, op_name_configs=dict.fromkeys(eight)
    )
    return _quantised(ct.optimize.coreml.palettize_weights(model, four), {}, eight)


def _eight_bit_layers(model: Model, kind: str) -> list[str]:
    """Returns the language-model head, and layers that do not divide into whole blocks."""
    layers = [layer for layer in model._mil_program.functions["main"].operations if layer.op_type == "linear"]
    return [layer.name for layer in layers if layer is layers[-1] or not FITTED[kind].fits(layer.weight.shape)]


def _quantised(model: Model, kinds: dict[str, Any], names: dict[str, Any]) -> Model:
    config = ct.optimize.coreml.OptimizationConfig(op_type_configs=kinds, op_name_configs=names)
    return ct.optimize.coreml.linear_quantize_weights(model, config)


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
