"""The graphs of the second handmade bundle: two images, three position axes, and a cut before the first layer.

21 x 35 pixels -> 3 x 5 visual tokens -> 6 kept; the only decoder stage has two GroupQueryAttention layers.
`weights()` are the same numbers for the numpy reference in `two_picture_model.py`.
"""

from functools import cache
from typing import Any

import numpy as np
from handmade_graphs import PATCH, model, numbers, projected_patches
from handmade_graphs import tokenizer as plain_tokenizer
from onnx import ModelProto, NodeProto, TensorProto, helper
from tokenizers import Tokenizer

HEIGHT, WIDTH, K, D, AXES, LAYERS = 3, 5, 6, 8, 3, 2
N, HEIGHT_PX, WIDTH_PX = HEIGHT * WIDTH, HEIGHT * PATCH, WIDTH * PATCH
SEED, OTHER_STOP_ID = 368, 208  # with these the answers are of many kinds
BEFORE, AFTER = "<picture>", "</picture>"
CACHE = [name for layer in range(LAYERS) for name in (f"key{layer}", f"value{layer}")]


@cache
def weights() -> dict[str, np.ndarray]:
    """Seeded weights by name; `step` (A, D) is what one step on each position axis adds to a row.

    `query` (layers, D, D) makes the queries of each layer, so that a row does not attend to itself most of all.
    """
    dice, vocab = np.random.default_rng(SEED), tokenizer().get_vocab_size()
    shapes = {"project": (3, D), "table": (vocab, D), "out": (D, vocab), "step": (AXES, D), "query": (LAYERS, D, D)}
    scales = {"project": 1.5, "table": 0.6, "out": 1.0, "step": 0.07, "query": 0.3}
    return {name: (scales[name] * dice.standard_normal(shapes[name])).astype(np.float32) for name in shapes}


def tokenizer() -> Tokenizer:
    """That of the first bundle, with tokens before and after each image."""
    made = plain_tokenizer()
    made.add_special_tokens([BEFORE, AFTER])
    return made


def vision() -> ModelProto:
    """Mean colour of each patch, projected."""
    return projected_patches(HEIGHT, WIDTH, weights()["project"])


def embed() -> ModelProto:
    """A row of the table per token."""
    nodes = [helper.make_node("Gather", ["table", "token_ids"], ["embeddings"])]
    return model(nodes, {"token_ids": ["tokens"]}, {"embeddings": ["tokens", D]}, numbers(table=weights()["table"]))


def prune() -> ModelProto:
    """The K features most like the mean embedding of the text, each moved half way to the mean feature."""
    nodes = [
        *likeness(),
        helper.make_node("TopK", ["chosen", "keep"], ["kept", "rank"], axis=0, largest=0),
        helper.make_node("Gather", ["features", "kept"], ["rows"]),
    ]
    outputs = {"kept": [K], "fused": [K, D], "rank": [K]}
    return prune_graph(nodes, outputs)


def counted_prune() -> ModelProto:
    """The same, but a feature that is little like the text does not stay, one at least does; -1 is padding."""
    node = helper.make_node
    nodes = [
        *likeness(),
        node("Greater", ["best", "little"], ["like"]),
        node("Cast", ["like"], ["ones"], to=TensorProto.INT64),
        node("ReduceSum", ["ones"], ["number"], keepdims=1),
        node("Max", ["number", "one"], ["count"]),
        node("Less", ["order", "count"], ["stays"]),
        node("Where", ["stays", "chosen", "behind"], ["places"]),
        node("TopK", ["places", "keep"], ["sorted", "rank"], axis=0, largest=0),
        node("Equal", ["sorted", "behind"], ["is_padding"]),
        node("Where", ["is_padding", "padding", "sorted"], ["kept"]),
        node("Max", ["kept", "zero"], ["indices"]),
        node("Gather", ["features", "indices"], ["rows"]),
    ]
    whole = {"one": np.array([1]), "zero": np.array([0]), "behind": np.array([N]), "padding": np.array([-1])}
    outputs = {"kept": [K], "fused": [K, D], "rank": [K], "count": [1]}
    return prune_graph(nodes, outputs, little=np.float32(0.4), order=np.arange(K), **whole)


def likeness() -> list[NodeProto]:
    """Nodes to `best` and `chosen` (K,): how like the text the likest features are, and which."""
    node = helper.make_node
    return [
        node("ReduceMean", ["text"], ["question"], axes=[0], keepdims=0),
        node("MatMul", ["features", "question"], ["likeness"]),
        node("TopK", ["likeness", "keep"], ["best", "chosen"], axis=0),
    ]


def prune_graph(nodes: list[NodeProto], outputs: dict[str, Any], **fixed: Any) -> ModelProto:
    """A prune stage whose kept features are `rows`."""
    fuse = [
        helper.make_node("ReduceMean", ["features"], ["mean"], axes=[0]),
        helper.make_node("Add", ["rows", "mean"], ["sums"]),
        helper.make_node("Mul", ["sums", "half"], ["fused"]),
    ]
    constants = numbers(keep=np.array([K]), half=np.float32(0.5), **fixed)
    return model([*nodes, *fuse], {"features": [N, D], "text": ["text_tokens", D]}, outputs, constants)


def tail() -> ModelProto:
    """Both layers over a cache that is input and output, then the logits of the last token."""
    node, buffer = helper.make_node, [1, 1, "capacity", D]
    nodes = [*places(), node("Identity", ["embeddings"], ["rows0"])]
    for layer in range(LAYERS):
        nodes += attention(layer)
    nodes += [
        node("Gather", [f"rows{LAYERS}", "minus"], ["newest"]),
        node("MatMul", ["newest", "out"], ["logits"]),
    ]
    caches: dict[str, Any] = dict.fromkeys(CACHE, buffer)
    inputs = {"embeddings": ["tokens", D], "positions": [AXES, "tokens"], "past_tokens": [1]} | caches
    outputs = {"logits": [weights()["out"].shape[1]]} | {f"{name}_now": buffer for name in caches}
    whole = {"zero": np.array([0]), "one": np.array([1]), "one32": np.array([1], dtype=np.int32)}
    fixed = {"step": weights()["step"], "out": weights()["out"], "minus": np.array(-1), **whole}
    queries = {f"query{layer}": weights()["query"][layer] for layer in range(LAYERS)}
    return model(nodes, inputs, outputs, numbers(**fixed, **queries))


def places() -> list[NodeProto]:
    """Nodes from `positions` (A, S) to `places` (S, D), and how full the cache is before and after."""
    node = helper.make_node
    return [
        node("Cast", ["positions"], ["steps"], to=TensorProto.FLOAT),
        node("Transpose", ["steps"], ["columns"]),
        node("MatMul", ["columns", "step"], ["places"]),
        node("Shape", ["positions"], ["shape"]),
        node("Gather", ["shape", "one"], ["tokens_now"]),
        node("Cast", ["tokens_now"], ["now"], to=TensorProto.INT32),
        node("Add", ["now", "past_tokens"], ["total"]),
        node("Sub", ["total", "one32"], ["last_place"]),
        node("Squeeze", ["total"], ["total_scalar"]),
    ]


def attention(layer: int) -> list[NodeProto]:
    """Nodes of x + attention(x + places), the queries through a matrix, from `rows0` to `rows1` and so on."""
    node, rows, queries, batch = helper.make_node, f"rows{layer}", f"queries{layer}", f"batch{layer}"
    attends = [queries, batch, batch, f"key{layer}", f"value{layer}", "last_place", "total_scalar"]
    gives = [f"attended{layer}", f"key{layer}_now", f"value{layer}_now"]
    return [
        node("Add", [rows, "places"], [f"placed{layer}"]),
        node("Unsqueeze", [f"placed{layer}", "zero"], [batch]),
        node("MatMul", [batch, f"query{layer}"], [queries]),
        node("GroupQueryAttention", attends, gives, domain="com.microsoft", num_heads=1, kv_num_heads=1),
        node("Squeeze", [f"attended{layer}", "zero"], [f"flat{layer}"]),
        node("Add", [rows, f"flat{layer}"], [f"rows{layer + 1}"]),
    ]
