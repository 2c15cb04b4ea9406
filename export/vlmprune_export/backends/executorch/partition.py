"""Assigns operators to delegates; the runtime's own kernels take the others."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch.fx import GraphModule, Node

from vlmprune_runtime.errors import BadRequest


class DelegateKind(NamedTuple):
    """How to build a backend's partitioners, whether this machine can run the result, and what the backend supports.

    `loops`: it copes with the loop of the prune stage. Vulkan's partitioner tags constants that the loop body uses
    and then refuses them.
    """

    partitioners: Callable[[], list[Any]]
    runnable: bool
    quantised: bool = False
    loops: bool = True

    def partitioners_of(self, method: str) -> list[Any]:
        """Returns the partitioners of a method; a prune stage may be left to the runtime's own kernels."""
        return self.partitioners() if self.loops or not method.startswith("prune") else []


def _xnnpack() -> list[Any]:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (
        XnnpackDynamicallyQuantizedPartitioner,
        XnnpackPartitioner,
    )

    return [XnnpackDynamicallyQuantizedPartitioner(), XnnpackPartitioner()]


def _vulkan() -> list[Any]:
    from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner

    return [VulkanPartitioner({"require_dynamic_shapes": True})]


BACKENDS: Mapping[str, DelegateKind] = {
    "xnnpack": DelegateKind(_xnnpack, runnable=True, quantised=True),
    "portable": DelegateKind(list, runnable=True),
    "vulkan": DelegateKind(_vulkan, runnable=False, loops=False),
}


# Backends that are refused, and why.
REFUSED: Mapping[str, str] = {
    "coreml": "its partitioner refuses the dynamic lengths that head and tail hand between partitions "
    "('Placeholder val must be a tensor'); for Core ML export with --target coreml",
}


def backend_kind(name: str, *, quantised: bool) -> DelegateKind:
    """Returns the backend of that name. Raises `BadRequest` with the reason if it does not support such a model."""
    if name in REFUSED:
        raise BadRequest(f"backend {name!r} of ExecuTorch cannot take this model: {REFUSED[name]}")
    kind = BACKENDS[name]
    if quantised and not kind.quantised:
        takers = ", ".join(other for other, one in BACKENDS.items() if one.quantised)
        raise BadRequest(f"backend {name!r} does not take quantised weights here; allowed: {takers}")
    return kind


def delegated_fraction(graph: GraphModule) -> float:
    """Returns the share of a lowered method's operators that delegates took, with loop bodies counted once."""
    inside = sum(_operators(delegate.original_module.graph_module) for delegate in _delegates(graph))
    outside = _operators(graph)
    return inside / max(1, inside + outside)


def _delegates(graph: GraphModule) -> list[Any]:
    return [module for module in graph.modules() if type(module).__name__ == "LoweredBackendModule"]


def _operators(graph: GraphModule) -> int:
    """Counts the operators of a graph and of its loop bodies, without those inside delegates."""
    bodies = [body for body in graph.children() if isinstance(body, GraphModule)]
    own = sum(_computes(node) for node in graph.graph.nodes)
    return own + sum(_operators(body) for body in bodies)


def _computes(node: Node) -> bool:
    """Returns False for a call of a delegate and for reading a tuple or a length."""
    name = getattr(node.target, "__name__", "")
    return node.op == "call_function" and name not in ("getitem", "executorch_call_delegate", "sym_size.int")
