"""The graphs of the handmade bundle: a whole vision-language model of a few thousand weights, no torch.

28 x 28 pixels -> 16 visual tokens -> 4 kept; head and tail are one GroupQueryAttention layer each.
`weights()` are the same numbers for the numpy reference in `numpy_model.py`.
"""

from functools import cache
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

N, K, D, PX, PATCH = 16, 4, 8, 28, 7
IMAGE, STOP = "<image>", "<end>"
ONNX = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}
WHOLE = {
    "past_tokens": "int32",
    "token_ids": "int64",
    "positions": "int64",
    "kept": "int64",
    "rank": "int64",
    "count": "int64",
}


@cache
def weights() -> dict[str, np.ndarray]:
    """Seeded weights by name; `table` is the embedding (V, D), `out` the language head (D, V)."""
    dice, vocab = np.random.default_rng(243), tokenizer().get_vocab_size()
    shapes = {"project": (3, D), "table": (vocab, D), "out": (D, vocab)}
    made = {name: dice.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return made | {"table": made["table"] / 2, "project": made["project"] / 2}


def tokenizer() -> Tokenizer:
    """Byte-level, one token per byte, so that an emoji takes four of them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {letter: place for place, letter in enumerate(alphabet)}
    made = Tokenizer(models.BPE(vocab, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([IMAGE, STOP])
    return made


def vision() -> ModelProto:
    """Mean colour of each patch, projected."""
    return projected_patches(PX // PATCH, PX // PATCH, weights()["project"])


def projected_patches(height: int, width: int, project: np.ndarray) -> ModelProto:
    """Mean colour of each of height x width patches, times a matrix (3, D)."""
    nodes = [
        helper.make_node("AveragePool", ["pixels"], ["means"], kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH]),
        helper.make_node("Reshape", ["means", "flat"], ["channels"]),
        helper.make_node("Transpose", ["channels"], ["patches"]),
        helper.make_node("MatMul", ["patches", "project"], ["features"]),
    ]
    fixed = numbers(flat=np.array([3, height * width]), project=project)
    pixels, features = [1, 3, height * PATCH, width * PATCH], [height * width, project.shape[1]]
    return model(nodes, {"pixels": pixels}, {"features": features}, fixed)


def embed() -> ModelProto:
    """A row of the table per token."""
    nodes = [helper.make_node("Gather", ["table", "token_ids"], ["embeddings"])]
    return model(nodes, {"token_ids": ["tokens"]}, {"embeddings": ["tokens", D]}, [constant("table")])


def prune() -> ModelProto:
    """The K rows with the largest sums, in image order, each halved so that fusing shows."""
    nodes = [
        helper.make_node("ReduceSum", ["hidden", "last"], ["sums"], keepdims=0),
        helper.make_node("TopK", ["sums", "keep"], ["best", "chosen"], axis=0),
        helper.make_node("TopK", ["chosen", "keep"], ["kept", "rank"], axis=0, largest=0),
        helper.make_node("Gather", ["hidden", "kept"], ["rows"]),
        helper.make_node("Mul", ["rows", "half"], ["fused"]),
    ]
    outputs = {"kept": [K], "fused": [K, D], "rank": [K]}
    fixed = numbers(last=np.array([1]), keep=np.array([K]), half=np.float32(0.5))
    return model(nodes, {"hidden": [N, D], "keys": [N, D]}, outputs, fixed)


def attention(name: str, dtype: str) -> ModelProto:
    """x + attention(x + position / 100), over a cache that is input and output."""
    source = "embeddings" if name == "head" else "hidden"
    nodes, constants = cached_attention(source, ONNX[dtype])
    ends, more, outputs = head_end() if name == "head" else tail_end()
    inputs = {source: ["tokens", D], "positions": ["tokens"], "past_tokens": [1]}
    made = model(nodes + ends, inputs, outputs, constants + more)
    buffer = [1, 1, "capacity", D]
    for key in ("key0", "value0"):
        made.graph.input.append(helper.make_tensor_value_info(key, ONNX[dtype], buffer))
        made.graph.output.append(helper.make_tensor_value_info(f"{key}_now", ONNX[dtype], buffer))
    return made


def cached_attention(source: str, kind: int) -> tuple[list[NodeProto], list[TensorProto]]:
    """Nodes from `source` to `mixed`; the graph finds out by itself how full the cache is."""
    node = helper.make_node
    attends = ["batch", "batch", "batch", "key0", "value0", "last_place", "total_scalar"]
    gives = ["attended", "key0_now", "value0_now"]
    nodes = [
        node("Cast", ["positions"], ["whole"], to=TensorProto.FLOAT),
        node("Mul", ["whole", "hundredth"], ["small"]),
        node("Unsqueeze", ["small", "one"], ["column"]),
        node("Add", [source, "column"], ["placed"]),
        node("Cast", ["placed"], ["cast"], to=kind),
        node("Unsqueeze", ["cast", "zero"], ["batch"]),
        node("Shape", ["positions"], ["tokens_now"]),
        node("Cast", ["tokens_now"], ["now"], to=TensorProto.INT32),
        node("Add", ["now", "past_tokens"], ["total"]),
        node("Sub", ["total", "one32"], ["last_place"]),
        node("Squeeze", ["total"], ["total_scalar"]),
        node("GroupQueryAttention", attends, gives, domain="com.microsoft", num_heads=1, kv_num_heads=1),
        node("Squeeze", ["attended", "zero"], ["flat"]),
        node("Cast", ["flat"], ["flat32"], to=TensorProto.FLOAT),
        node("Add", [source, "flat32"], ["mixed"]),
    ]
    whole = {"one": np.array([1]), "zero": np.array([0]), "one32": np.array([1], dtype=np.int32)}
    return nodes, numbers(hundredth=np.float32(0.01), **whole)


def head_end() -> tuple[list[NodeProto], list[TensorProto], dict[str, Any]]:
    """Hidden states and keys of all tokens."""
    nodes = [
        helper.make_node("Identity", ["mixed"], ["hidden"]),
        helper.make_node("Identity", ["placed"], ["keys"]),
    ]
    return nodes, [], {"hidden": ["tokens", D], "keys": ["tokens", D]}


def tail_end() -> tuple[list[NodeProto], list[TensorProto], dict[str, Any]]:
    """Logits of the last token."""
    nodes = [
        helper.make_node("Gather", ["mixed", "minus"], ["newest"]),
        helper.make_node("MatMul", ["newest", "out"], ["logits"]),
    ]
    return nodes, [constant("out"), *numbers(minus=np.array(-1))], {"logits": [weights()["out"].shape[1]]}


def numbers(**values: Any) -> list[TensorProto]:
    """Initializers by name."""
    return [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]


def constant(name: str) -> TensorProto:
    """One of `weights()` as an initializer."""
    return numpy_helper.from_array(weights()[name], name)


def model(
    nodes: list[NodeProto], inputs: dict[str, Any], outputs: dict[str, Any], constants: list[TensorProto]
) -> ModelProto:
    """An ONNX model that declares its tensors as the manifest does."""
    graph = helper.make_graph(nodes, "graph", infos(inputs), infos(outputs), constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def infos(shapes: dict[str, Any]) -> list[Any]:
    """Value infos with the dtypes that `tensor` gives."""
    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "int32": TensorProto.INT32}
    return [
        helper.make_tensor_value_info(name, kinds[WHOLE.get(name, "float32")], shape) for name, shape in shapes.items()
    ]
