"""Every rule of the lint is broken once, on a saved package, and named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("coremltools", reason="pip install 'vlmprune[coreml]'; the Core ML lint is NOT tested")

from mil_edits import copied, drop, edited, operations

from vlmprune_export.backends.coreml.lint import LintError, lint

_FP16, _INT16, _INT32 = 10, 22, 23
STAGES = ("vision", "embed", "head", "prune", "tail")


def first(model: Any, function: str, kind: str) -> Any:
    return next(one for one in operations(model, function) if one.type == kind)


def made(model: Any, function: str, name: str) -> Any:
    return next(one.outputs[0] for one in operations(model, function) if one.outputs and one.outputs[0].name == name)


def forget_a_write(model: Any) -> None:
    drop(operations(model, "decode"), "write_state", 1)


def index_in_half(model: Any) -> None:
    found = first(model, "decode", "gather")
    made(model, "decode", found.inputs["indices"].arguments[0].name).type.tensorType.dataType = _FP16


def index_in_a_short(model: Any) -> None:
    found = first(model, "decode", "slice_update")
    made(model, "decode", found.inputs["begin"].arguments[0].name).type.tensorType.dataType = _INT16


def index_from_half(model: Any) -> None:
    cast = first(model, "decode", "cast")
    for name in [one.name for one in cast.inputs["x"].arguments]:
        for given in model.mlProgram.functions["decode"].inputs:
            if given.name == name:
                given.type.tensorType.dataType = _FP16
    cast.outputs[0].type.tensorType.dataType = _INT32


def operation_of_the_future(model: Any) -> None:
    first(model, "prefill", "silu").type = "quantum_silu"


def open_shape(model: Any) -> None:
    shape = first(model, "prefill", "linear").outputs[0].type.tensorType.dimensions
    shape[1].unknown.variadic = False


def open_input(model: Any) -> None:
    model.mlProgram.functions["prefill"].inputs[0].type.tensorType.dimensions[1].unknown.variadic = False


def other_operation_set(model: Any) -> None:
    function = model.mlProgram.functions["decode"]
    function.block_specializations["CoreML9"].CopyFrom(function.block_specializations[function.opset])
    function.opset = "CoreML9"


@pytest.mark.parametrize("stage", STAGES)
def test_sound_packages_pass(bundle: Path, stage: str) -> None:
    lint(bundle / f"{stage}.mlpackage")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (forget_a_write, "function 'decode': write_state: state 'v_head' is never written"),
        (index_in_half, r"function 'decode': gather '\w+': indices is not int32"),
        (index_in_a_short, r"function 'decode': slice_update '\w+': begin is not int32"),
        (index_from_half, r"function 'decode': cast '\w+': casts between an index and an fp16 number"),
        (operation_of_the_future, r"function 'prefill': quantum_silu '\w+': is no operation of CoreML8"),
        (open_shape, r"function 'prefill': linear '\w+': dynamic shape"),
        (open_input, r"function 'prefill': input '\w+' has a dynamic shape"),
        (other_operation_set, "function 'decode': operation set 'CoreML9'; allowed: CoreML8"),
    ],
)
def test_a_broken_rule_names_function_and_operation(
    bundle: Path, tmp_path: Path, damage: Callable[[Any], None], message: str
) -> None:
    package = copied(bundle / "head.mlpackage", tmp_path / "head.mlpackage")
    with edited(package) as model:
        damage(model)
    with pytest.raises(LintError, match=message):
        lint(package)


def test_rules_hold_inside_loops(bundle: Path, tmp_path: Path) -> None:
    package = copied(bundle / "prune.mlpackage", tmp_path / "prune.mlpackage")
    with edited(package) as model:
        body = first(model, "main", "while_loop").blocks[1]
        next(one for one in body.operations if one.type == "minimum").type = "quantum_minimum"
    with pytest.raises(LintError, match="function 'main': quantum_minimum"):
        lint(package)
