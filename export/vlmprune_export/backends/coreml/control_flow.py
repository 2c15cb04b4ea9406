"""Converts `torch.while_loop` and `torch.cond` of a captured program to Core ML's loop and branch.

coremltools refuses a program from torch.export that holds sub-graphs. `mark_control_flow` therefore replaces each loop
and branch by a plain operator that carries its sub-graphs with it, and the two translations registered below convert
the operations of a sub-graph, inside the block, with the translations that coremltools has for them anyway.
"""

from collections.abc import Sequence
from typing import Any

import torch
from coremltools.converters.mil import Builder as mb  # noqa: N813 - the name its users know
from coremltools.converters.mil.frontend.torch.internal_graph import InternalTorchIRNode
from coremltools.converters.mil.frontend.torch.ops import _get_inputs, convert_single_node
from coremltools.converters.mil.frontend.torch.torch_op_registry import register_torch_op
from torch import Tensor
from torch.fx import GraphModule, Node

Var = Any  # coremltools' Var; the package has no types
_BLOCKS = "vlmprune_blocks"  # in the metadata of a marked node: its sub-graphs
_WHILE, _COND = torch.ops.higher_order.while_loop, torch.ops.higher_order.cond


def mark_control_flow(module: GraphModule) -> None:
    """Replaces the loops and branches of a graph, nested ones too, by operators that coremltools can look up."""
    for node in list(module.graph.nodes):
        if node.target is _WHILE:
            condition, body, carried, constants = node.args
            _replace(module, node, vlmprune_while_loop, (condition, body), [list(carried), list(constants)])
        elif node.target is _COND:
            predicate, then, otherwise, operands = node.args
            _replace(module, node, vlmprune_cond, (then, otherwise), [predicate, list(operands)])
    for node in list(module.graph.nodes):
        if node.op == "get_attr" and not node.users:
            module.graph.erase_node(node)


def _replace(module: GraphModule, node: Node, operator: Any, blocks: tuple[Node, ...], arguments: list[Any]) -> None:
    graphs = tuple(module.get_submodule(str(block.target)) for block in blocks)
    for graph in graphs:
        mark_control_flow(graph)  # type: ignore[arg-type]
    with module.graph.inserting_before(node):
        marked = module.graph.call_function(operator, tuple(arguments))
    marked.meta = {**node.meta, _BLOCKS: graphs}
    node.replace_all_uses_with(marked)
    module.graph.erase_node(node)


@register_torch_op(override=True)  # type: ignore[untyped-decorator]
def vlmprune_while_loop(context: Any, node: Any) -> None:
    """Translates a marked loop; its step reads the constants from outside the block.

    A carried number has one dimension at the edge of the block: coremltools has two types for a number without any.
    """
    carried, constants = map(_tensors, _get_inputs(context, node, expected=2))
    condition, body = node.meta[_BLOCKS]
    numbers = [value.rank == 0 for value in carried]

    def inside(values: Sequence[Var]) -> list[Var]:
        return [_number(value) if number else value for value, number in zip(values, numbers, strict=True)]

    def outside(values: Sequence[Var]) -> tuple[Var, ...]:
        return tuple(mb.expand_dims(x=one, axes=[0]) if one.rank == 0 else one for one in values)

    last = mb.while_loop(
        _cond=lambda *state: _number(_convert_block(context, condition, [*inside(state), *constants])[0]),
        _body=lambda *state: outside(_convert_block(context, body, [*inside(state), *constants])),
        loop_vars=tuple(map(_variable, outside(carried))),
    )
    context.add(inside(last if isinstance(last, list | tuple) else [last]), torch_name=node.name)


@register_torch_op(override=True)  # type: ignore[untyped-decorator]
def vlmprune_cond(context: Any, node: Any) -> None:
    """Translates a marked branch."""
    predicate, operands = _get_inputs(context, node, expected=2)
    then, otherwise = node.meta[_BLOCKS]
    results = mb.cond(
        pred=_number(predicate),
        _true_fn=lambda: tuple(_convert_block(context, then, _tensors(operands))),
        _false_fn=lambda: tuple(_convert_block(context, otherwise, _tensors(operands))),
    )
    context.add(list(results) if isinstance(results, list | tuple) else [results], torch_name=node.name)


def _convert_block(context: Any, module: GraphModule, inputs: Sequence[Var]) -> list[Var]:
    """Converts the operations of a sub-graph where the builder stands, and returns the sub-graph's results."""
    nodes = list(module.graph.nodes)
    names = [node.name for node in nodes if node.op == "placeholder"]
    context.push((names, list(inputs)))
    for node in nodes:
        if node.op == "get_attr":
            constant: Tensor = getattr(module, str(node.target))
            context.add(mb.const(val=constant.numpy()), torch_name=node.name)
        elif node.op == "call_function":
            convert_single_node(context, InternalTorchIRNode.from_exir_node(node))
    outputs = nodes[-1].args[0]
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    results = [_result(context[one.name], inputs) for one in outputs]
    context.pop()
    return results


def _result(result: Var, inputs: Sequence[Var]) -> Var:
    """Returns a copy of a result that is an input of the block, which Core ML does not accept as a result."""
    return mb.identity(x=result) if any(result is one for one in inputs) else result


def _tensors(argument: Any) -> list[Var]:
    """Returns a list of tensors; coremltools takes an empty list for a list of whole numbers."""
    return list(argument) if isinstance(argument, list | tuple) else []


def _variable(value: Var) -> Var:
    """Returns the value as a variable, because coremltools would compute the first step of a constant in advance."""
    if value.val is None:
        return value
    variable = mb.identity(x=value)
    variable._sym_val = None
    return variable


def _number(value: Var) -> Var:  # (1,) or () -> ()
    return mb.squeeze(x=value) if value.rank else value
