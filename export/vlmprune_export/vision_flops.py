"""Counts the FLOPs of the vision stage from its graph."""

from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import flop_registry

from vlmprune_export.families import Family


def count_vision_flops(family: Family, nth: int = 0) -> int:
    """Counts products and convolutions of one image on a grid, a multiply-add as two.

    Layers whose output nobody reads, as behind LLaVA's feature layer, do not count: graphs do not have them.
    Attention counts as its plain products. Nothing is computed, only shapes.
    """
    grid = family.grids[nth]
    first = next(family.model.parameters())
    pixels = torch.empty(1, 3, grid.height_px, grid.width_px, dtype=first.dtype, device=first.device)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        traced: GraphModule = make_fx(
            lambda image: family.features(image, nth), tracing_mode="fake", _allow_non_fake_inputs=True
        )(pixels)
    traced.graph.eliminate_dead_code()
    return sum(_node_flops(node) for node in traced.graph.nodes)


def _node_flops(node: Node) -> int:
    count = flop_registry.get(getattr(node.target, "overloadpacket", None))
    if count is None:
        return 0
    args, kwargs = torch.fx.node.map_arg((node.args, dict(node.kwargs)), _value)
    return int(count(*args, **kwargs, out_val=node.meta["val"]))


def _value(node: Node) -> Any:
    if node.op == "get_attr":
        return getattr(node.graph.owning_module, str(node.target))
    return node.meta["val"]
