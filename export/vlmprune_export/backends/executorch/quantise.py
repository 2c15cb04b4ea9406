"""Quantises linear layers and the embedding with torchao's schemes while a stage is captured.

8da8w: 8-bit activations (per token, at run time) times 8-bit weights (per output channel). 8da4w: 4-bit weights in
groups of 32 inputs, to which the weights were rounded before (`FITTED`), so that torchao derives the same scales.
Afterwards the checkpoint's own modules are put back.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import executorch.exir.passes._quant_patterns_and_replacements  # noqa: F401 - registers embedding_byte
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torchao.quantization import quantize_
from torchao.quantization.granularity import PerAxis, PerGroup
from torchao.quantization.quant_api import Int8DynamicActivationIntxWeightConfig
from torchao.quantization.quant_primitives import MappingType
from torchao.utils import unwrap_tensor_subclass

from vlmprune_export.backends.float_weights import FloatWeight
from vlmprune_export.quantisation_grids import BlockGrid, QuantisationGrid
from vlmprune_export.stage_table import StageEntry
from vlmprune_export.staged_model import StagedModel

GROUP = 32  # XNNPACK's block must be a multiple of it; 64 and 128 do not divide a width of 576 or 960

_INT4 = getattr(torch, "int4")  # noqa: B009 - missing from PyTorch's stubs

# Stages before pruning have at least 8 bits: fewer change the features by which the pruner chooses.
PLANS: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "8da8w": {"vision": "8da8w", "embed": "8da8w", "head": "8da8w", "tail": "8da8w"},
    "8da4w": {"vision": "8da8w", "embed": "8da8w", "head": "8da8w", "tail": "8da4w"},
}


# The tail's weights lie on these grids when it is captured.
FITTED: Mapping[str, QuantisationGrid] = {"8da4w": BlockGrid(GROUP, lowest=-8)}


@contextmanager
def quantised(staged: StagedModel, name: str, kind: str | None) -> Iterator[None]:
    """Quantises the stage's linear layers, or its embedding, wherever the model has them, while the block runs."""
    swapped: list[tuple[nn.Module, str, nn.Module]] = []
    if kind is not None:
        layers = _layers(staged.stages[name])
        roots = (staged.family.model, staged.stages[name].module)
        swapped = [place for root in roots for place in _places(root, layers)]
    try:
        replacements = {
            layer: _quantised(layer, _kind(staged, layer, kind)) for layer in {place[2] for place in swapped}
        }
        for parent, child, layer in swapped:
            setattr(parent, child, replacements[layer])
        yield
    finally:
        for parent, child, layer in swapped:
            setattr(parent, child, layer)


def _kind(staged: StagedModel, layer: nn.Module, kind: str | None) -> str | None:
    """Returns at least 8 bits for the language-model head and the embedding."""
    return "8da8w" if layer is staged.family.lm_head or isinstance(layer, nn.Embedding) else kind


def _layers(entry: StageEntry) -> set[nn.Module]:
    """Returns the stage's own linear layers, or its table."""
    kinds = (nn.Linear, nn.Embedding) if entry.declared.role == "embed" else (nn.Linear,)
    return {layer for layer in entry.module.modules() if isinstance(layer, kinds)}


def _places(root: nn.Module, layers: set[nn.Module]) -> list[tuple[nn.Module, str, nn.Module]]:
    """Returns parent, name and layer wherever one of the layers stands below a module."""
    return [
        (parent, child, layer)
        for parent in root.modules()
        for child, layer in parent.named_children()
        if layer in layers
    ]


def _quantised(layer: nn.Module, kind: str | None) -> nn.Module:
    if isinstance(layer, nn.Embedding):
        return ByteEmbedding(layer.weight)
    assert isinstance(layer, nn.Linear)
    copy = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
    copy.weight, copy.bias = layer.weight, layer.bias
    holder = nn.ModuleDict({"layer": copy})
    quantize_(holder, _config(layer.in_features, kind))
    return unwrap_tensor_subclass(holder)["layer"]  # type: ignore[no-any-return]


def _config(inputs: int, kind: str | None) -> Int8DynamicActivationIntxWeightConfig:
    """Returns 4 bits where the group divides the inputs, else 8."""
    if kind == "8da4w" and inputs % GROUP == 0:
        return Int8DynamicActivationIntxWeightConfig(
            weight_dtype=_INT4,
            weight_granularity=PerGroup(GROUP),
            weight_mapping_type=MappingType.SYMMETRIC_NO_CLIPPING_ERR,
        )
    return Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int8, weight_granularity=PerAxis(0))


_NO_WEIGHTS = ("quant", "affine", "update_cache")  # parts of operators that read scales or caches


def float_weights(program: ExportedProgram) -> Iterator[FloatWeight]:
    """Yields the floating-point weights of a captured stage; caches and the scales of quantised weights are none."""
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    caches, tensors = set(signature.buffers_to_mutate.values()), {**program.constants, **program.state_dict}
    for node in program.graph.find_nodes(op="placeholder"):
        weight = tensors.get(names.get(node.name, ""))
        if weight is None or not weight.is_floating_point() or weight.numel() < 2 or names[node.name] in caches:
            continue
        readers = [str(reader.target) for reader in node.users]
        if readers and not any(part in reader for reader in readers for part in _NO_WEIGHTS):
            bias = " bias" if weight.ndim == 1 and "linear" in readers[0] else ""
            yield FloatWeight(readers[0].removesuffix(".default") + bias, weight.numel(), weight.nbytes)


class ByteEmbedding(nn.Module):
    """Embedding with 8-bit rows and one scale per row, as ExecuTorch's own kernel reads it."""

    rows: Tensor
    scales: Tensor

    def __init__(self, weight: Tensor) -> None:  # (V, D)
        super().__init__()
        scales = weight.detach().abs().amax(1).clamp(min=1e-12) / 127
        self.register_buffer("rows", (weight.detach() / scales[:, None]).round().to(torch.int8))
        self.register_buffer("scales", scales)

    def forward(self, token_ids: Tensor) -> Tensor:  # (S,) -> (S, D)
        """Returns the embeddings in fp32."""
        embedded: Tensor = torch.ops.quantized_decomposed.embedding_byte.dtype(
            self.rows, self.scales, None, -128, 127, token_ids, dtype=torch.float32
        )
        return embedded
