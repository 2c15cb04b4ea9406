"""Checks that a loaded ONNX graph has the tensors that its manifest declares."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from vlmprune_runtime.errors import BundleError, comma_list, short_repr
from vlmprune_runtime.schema import Cache, Stage, Tensor

ONNX_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
}


class Declared(NamedTuple):
    """Describes a tensor of the graph as the manifest declares it; a string in `shape` is a free dimension."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


def check_graph(session: Any, name: str, file: str, stage: Stage) -> None:
    """Raises `BundleError` for the first tensor whose name, dtype, rank or fixed size is not as declared."""
    inputs = _declared(stage.inputs) + cache_tensors(stage.cache, "inputs")
    outputs = _declared(stage.outputs) + cache_tensors(stage.cache, "outputs")
    _check_side(file, f"stages.{name}.inputs", inputs, session.get_inputs())
    _check_side(file, f"stages.{name}.outputs", outputs, session.get_outputs())


def cache_tensors(cache: Cache | None, side: str) -> tuple[Declared, ...]:
    """Returns the cache's buffers as declared tensors; the capacity is the engine's to choose."""
    if cache is None:
        return ()
    sizes: dict[str, int | str] = {"batch": 1, "kv_heads": cache.kv_heads, "head_dim": cache.head_dim}
    shape = tuple(sizes.get(axis, axis) for axis in cache.layout)
    names: tuple[str, ...] = getattr(cache, side)
    return tuple(Declared(name, cache.dtype, shape) for name in names)


def _declared(tensors: Iterable[Tensor]) -> tuple[Declared, ...]:
    return tuple(Declared(tensor.name, tensor.dtype, tensor.in_graph) for tensor in tensors)


def _check_side(file: str, field: str, declared: tuple[Declared, ...], nodes: list[Any]) -> None:
    graph = {node.name: node for node in nodes}
    expected = {tensor.name: tensor for tensor in declared}
    if graph.keys() != expected.keys():
        reason = f"graph has {comma_list(sorted(graph))}; manifest says {comma_list(sorted(expected))}"
        raise BundleError(file, reason, field)
    for name, tensor in expected.items():
        _check_tensor(file, f"{field}.{name}", tensor, graph[name])


def _check_tensor(file: str, field: str, tensor: Declared, node: Any) -> None:
    dtype = ONNX_DTYPES.get(node.type, node.type)
    if dtype != tensor.dtype:
        raise BundleError(file, f"graph has {dtype}, manifest says {tensor.dtype}", field)
    shape = tuple(node.shape)
    if len(shape) != len(tensor.shape) or not all(map(_agree, tensor.shape, shape)):
        raise BundleError(
            file, f"graph has {short_repr(shape, 120)}, manifest says {short_repr(tensor.shape, 120)}", field
        )


def _agree(declared: int | str, graph: int | str | None) -> bool:
    """Says whether sizes agree: a free declared size must be free in the graph, a fixed one may be free there."""
    return not isinstance(graph, int) or graph == declared
