"""Rewrites the fused attention of a vision tower: its weights, its mask, and a form that can be quantised.

`fuse_for_onnxruntime` merges a tower's attention and its query, key and value products into `com.microsoft::Attention`.
A quantiser for matrix products does not see the weights inside that node, and would leave them in fp32.
"""

import onnx
import onnx_ir as ir
from onnx import NodeProto, TensorProto, helper
from onnxscript.optimizer import fold_constants

from vlmprune_export.backends.onnx.row_scales import rewrite

_DOMAIN = "com.microsoft"
_WEIGHT, _MASK = 1, 5  # inputs of Attention; the mask is added to the scores
_FOLDED_ELEMENTS = 1 << 27  # more than the joined weights of a layer 6,000 wide, and than a mask over 11,000 tokens
_KEPT = ("num_heads", "scale", "unidirectional", "mask_filter_value")


def simplify_attention(model: ir.Model) -> None:
    """Stores the joined weights of each fused attention as one tensor, and removes masks that hide nothing.

    Otherwise ONNX Runtime joins the weights each time it loads the graph, and adds zeros to all scores in every run.
    """
    attentions = [node for node in model.graph if (node.domain, node.op_type) == (_DOMAIN, "Attention")]
    if not attentions:
        return
    fold_constants(model, input_size_limit=_FOLDED_ELEMENTS, output_size_limit=_FOLDED_ELEMENTS)
    for node in attentions:
        mask = node.inputs[_MASK] if len(node.inputs) > _MASK else None
        if mask is not None and mask.const_value is not None and not mask.const_value.numpy().any():
            node.replace_input_with(_MASK, None)


def expose_products(model: onnx.ModelProto) -> None:
    """Replaces each fused attention by one product with its joined weights and a `MultiHeadAttention`.

    An attention with a cache, with lengths for a mask, or with computed weights stays as it is.
    """
    weights = {tensor.name: tensor.dims[1] for tensor in model.graph.initializer if len(tensor.dims) == 2}

    def exposed(node: NodeProto) -> list[NodeProto]:
        return _exposed(model.graph, node, weights[node.input[_WEIGHT]]) if _can_expose(node, weights) else [node]

    rewrite(model, exposed)


def _can_expose(node: NodeProto, weights: dict[str, int]) -> bool:
    fused = (node.domain, node.op_type) == (_DOMAIN, "Attention")
    return fused and node.input[_WEIGHT] in weights and not any(node.input[3:_MASK]) and len(node.output) == 1


def _exposed(graph: onnx.GraphProto, node: NodeProto, width: int) -> list[NodeProto]:
    hidden, weight, bias, *rest = [*node.input, "", "", ""][: _MASK + 1]
    [mixed], name = node.output, f"{node.output[0]}_qkv"
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    sizes = attributes.get("qkv_hidden_sizes", [width // 3] * 3)
    graph.initializer.append(helper.make_tensor(f"{name}_sizes", TensorProto.INT64, [3], sizes))
    parts = [f"{name}_{part}" for part in ("query", "key", "value")]
    mask = ["", "", rest[-1]] if rest[-1] else []
    return [
        helper.make_node("MatMul", [hidden, weight], [f"{name}_product" if bias else name], f"{name}_product"),
        *([helper.make_node("Add", [f"{name}_product", bias], [name], f"{name}_bias")] if bias else []),
        helper.make_node("Split", [name, f"{name}_sizes"], parts, f"{name}_split", axis=-1),
        helper.make_node(
            "MultiHeadAttention", [*parts, *mask], [mixed], node.name, domain=_DOMAIN,
            **{key: value for key, value in attributes.items() if key in _KEPT},
        ),
    ]  # fmt: skip
