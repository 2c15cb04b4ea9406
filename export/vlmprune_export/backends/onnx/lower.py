"""Captured stages to ONNX files: translate, fuse, quantise, save with their weights beside them."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from transformers.exporters.onnxruntime_fusions import fuse_for_onnxruntime

from vlmprune_export.backends import Report
from vlmprune_export.backends.onnx.attention import simplify_attention
from vlmprune_export.backends.onnx.capture import (
    LAST_HIDDEN,
    Captured,
    capture_decoder,
    capture_prune,
    capture_tail,
    capture_vision,
)
from vlmprune_export.backends.onnx.describe import describe
from vlmprune_export.backends.onnx.quantise import PLANS, quantise
from vlmprune_export.backends.onnx.vocabulary import (
    OPSET,
    Matrix,
    attach_language_model_head,
    store,
    write_embed,
)
from vlmprune_export.staged import StagedModel
from vlmprune_runtime.errors import LoweringError
from vlmprune_runtime.schema import Stage

QUANTISATIONS = tuple(PLANS)


def lower(
    staged: StagedModel, folder: Path, *, quantisation: str, context_tokens: int, report: Report
) -> dict[str, Stage]:
    """Write the five graphs into `folder`. `context_tokens` is the runner's choice: the graphs take any capacity."""
    plan = PLANS[quantisation]
    report("vision")
    vision = _lower_stage("vision", capture_vision(staged), folder, plan.get("vision"))
    report("embed")
    table, embed = _lower_embed(staged, folder, plan.get("embed"))
    report("head")
    head = _lower_stage("head", capture_decoder(staged, "head"), folder, plan.get("head"))
    report("prune")
    prune = _lower_stage("prune", capture_prune(staged), folder, None)
    report("tail")
    tail = _lower_tail(staged, folder, plan.get("tail"), table)
    return {"vision": vision, "embed": embed, "head": head, "prune": prune, "tail": tail}


def versions() -> dict[str, str]:
    """Exporter and runtime packages."""
    return {name: version(name) for name in ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")}


def _lower_stage(name: str, captured: Captured, folder: Path, kind: str | None) -> Stage:
    path = folder / f"{name}.onnx"
    with _lowering(name):
        _write(_translate(captured), path, kind)
    return describe(path, captured, kind)


def _lower_embed(staged: StagedModel, folder: Path, kind: str | None) -> tuple[Matrix, Stage]:
    path = folder / "embed.onnx"
    with _lowering("embed"):
        table = store(folder / "embed.onnx.data", _array(staged.adapter.embedding.weight), quantised=kind is not None)
        write_embed(path, table)
    return table, describe(path, None, kind)


def _lower_tail(staged: StagedModel, folder: Path, kind: str | None, table: Matrix) -> Stage:
    """The tail without its last matrix, then that matrix from where it lies."""
    adapter, path = staged.adapter, folder / "tail.onnx"
    weight = adapter.lm_head.weight
    assert isinstance(weight, torch.Tensor)
    captured = capture_tail(staged)
    with _lowering("tail"):
        _write(_translate(captured), path, kind)
        tied = weight.data_ptr() == adapter.embedding.weight.data_ptr()
        matrix = table if tied else store(folder / "tail.onnx.data", _array(weight), quantised=kind is not None)
        attach_language_model_head(path, LAST_HIDDEN, "logits", matrix)
    return describe(path, captured, kind)


def _translate(captured: Captured) -> ir.Model:
    program = torch.onnx.export(
        captured.program,
        dynamo=True,
        input_names=captured.inputs,
        output_names=captured.outputs,
        opset_version=OPSET,
        verbose=False,
    )
    assert program is not None
    model = program.model
    fuse_for_onnxruntime(model, "cpu")
    simplify_attention(model)
    ClearMetadataAndDocStringPass()(model)  # stack traces name the exporting machine's paths
    _name_dimensions(model, captured)
    return model


def _name_dimensions(model: ir.Model, captured: Captured) -> None:
    """Call the dynamic dimensions by what they count."""
    caches = set() if captured.cache is None else {*captured.cache.inputs, *captured.cache.outputs}
    for value in [*model.graph.inputs, *model.graph.outputs]:
        name = "capacity" if value.name in caches else "tokens"
        assert value.shape is not None
        value.shape = ir.Shape([dim if isinstance(dim, int) else name for dim in value.shape])


def _write(model: ir.Model, path: Path, kind: str | None) -> None:
    if kind is None:
        data = path.with_name(f"{path.name}.data")
        ir.save(model, path, external_data=data.name)
        if not data.stat().st_size:
            data.unlink()
        return
    plain = path.with_name(f"plain-{path.name}")
    ir.save(model, plain, external_data=f"{plain.name}.data")
    quantise(plain, path, kind)
    plain.unlink()
    plain.with_name(f"{plain.name}.data").unlink(missing_ok=True)


def _array(weight: torch.Tensor) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return weight.detach().float().numpy()


@contextlib.contextmanager
def _lowering(stage: str) -> Iterator[None]:
    try:
        with _quiet():
            yield
    except Exception as cause:
        raise LoweringError(stage, "onnx", _root(cause)) from cause


def _root(cause: BaseException) -> BaseException:
    return _root(cause.__cause__) if cause.__cause__ else cause


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints its steps, logs every rewrite and warns of things that are settled here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
