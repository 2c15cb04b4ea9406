"""Lowers captured stages to ONNX files: translate, fuse, quantise, save with weights beside them."""

from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from transformers.exporters.onnxruntime_fusions import fuse_for_onnxruntime

from vlmprune_export.backends.lowering_errors import lowering
from vlmprune_export.backends.onnx.capture import LAST_HIDDEN, CapturedStage, capture, capture_without_head
from vlmprune_export.backends.onnx.cheaper_nodes import replace_costly_nodes
from vlmprune_export.backends.onnx.describe import describe
from vlmprune_export.backends.onnx.external_data import share_weights, take_weights
from vlmprune_export.backends.onnx.fused_attention import simplify_attention
from vlmprune_export.backends.onnx.quantise import PLANS, quantise
from vlmprune_export.backends.onnx.vocabulary_matrices import (
    OPSET,
    Matrix,
    attach_language_model_head,
    embedding_weight,
    save_embed,
    store_matrix,
    take_table,
)
from vlmprune_export.stage_table import StageEntry
from vlmprune_export.staged_model import StagedModel
from vlmprune_runtime.progress import Report, part_of
from vlmprune_runtime.schema import Stage

QUANTISATIONS = tuple(PLANS)


class SharedMatrix(NamedTuple):
    """The embedding's weight (V, D) with its location on disk."""

    weight: torch.Tensor
    matrix: Matrix


def lower(
    staged: StagedModel, folder: Path, *, quantisation: str, context_tokens: int, report: Report
) -> dict[str, Stage]:
    """Writes a graph per stage into `folder`. `context_tokens` is the runner's choice: graphs take any capacity."""
    plan, stages, table = PLANS[quantisation], dict[str, Stage](), None
    for name, entry in staged.stages.items():
        report(name)
        if entry.declared.role == "embed":
            table, stages[name] = _lower_embed(entry, folder, plan.get(name), part_of(name, report))
        elif entry is staged.tail:
            stages[name] = _lower_tail(entry, folder, plan.get(name), table, part_of(name, report))
        else:
            stages[name] = _lower_stage(entry, folder, plan.get(entry.plan_name), part_of(name, report))
    return stages


def versions() -> dict[str, str]:
    """Returns the versions of exporter and runtime packages."""
    return {name: version(name) for name in ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")}


def _lower_stage(entry: StageEntry, folder: Path, kind: str | None, report: Report) -> Stage:
    """Writes a graph for every module of the stage: one, or one per grid."""
    paths, captured = list[Path](), None
    for nth, one in enumerate(entry.each_grid):
        report("capturing")
        captured = capture(one, one.module)
        paths.append(folder / (f"{entry.name}_{nth}.onnx" if nth else f"{entry.name}.onnx"))
        with lowering(entry.name, "onnx"):
            _write(_translate(captured, report), paths[-1], kind, report)
            if nth:
                share_weights(paths[0], paths[-1])
    return describe(entry, paths, captured.cache if captured else None, kind)


def _lower_embed(
    entry: StageEntry, folder: Path, kind: str | None, report: Report
) -> tuple[SharedMatrix | None, Stage]:
    """Writes the embedding as the model computes it, with its table where the last stage can read it too."""
    path, captured = folder / f"{entry.name}.onnx", capture(entry, entry.module)
    with lowering(entry.name, "onnx"):
        model = _translate(captured, report)
        weight = embedding_weight(entry.module)
        table = None if weight is None else take_table(model, weight)
        if weight is None or table is None:
            _write(model, path, kind, report)
            return None, describe(entry, [path], None, kind)
        report("writing the table")
        matrix = store_matrix(folder / f"{path.name}.data", _array(weight), quantised=kind is not None)
        save_embed(model, path, table, matrix)
    return SharedMatrix(weight, matrix), describe(entry, [path], None, kind)


def _lower_tail(entry: StageEntry, folder: Path, kind: str | None, table: SharedMatrix | None, report: Report) -> Stage:
    """Writes the last stage without its last matrix, and then attaches that matrix from where it is stored."""
    path, stage = folder / f"{entry.name}.onnx", entry.decoder
    assert isinstance(stage.lm_head, torch.nn.Linear)
    weight = stage.lm_head.weight
    report("capturing")
    captured = capture_without_head(entry)
    with lowering(entry.name, "onnx"):
        _write(_translate(captured, report), path, kind, report)
        report("writing the language-model head")
        tied = table is not None and table.weight.data_ptr() == weight.data_ptr()
        matrix = table.matrix if table and tied else None
        matrix = matrix or store_matrix(folder / f"{path.name}.data", _array(weight), quantised=kind is not None)
        attach_language_model_head(path, LAST_HIDDEN, matrix, stage.logit_cap)
    return describe(entry, [path], captured.cache, kind)


def _translate(captured: CapturedStage, report: Report) -> ir.Model:
    report("translating")
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
    report("fusing")
    fuse_for_onnxruntime(model, "cpu")
    simplify_attention(model)
    replace_costly_nodes(model)
    ClearMetadataAndDocStringPass()(model)  # stack traces name the exporting machine's paths
    _name_dimensions(model, captured)
    return model


def _name_dimensions(model: ir.Model, captured: CapturedStage) -> None:
    """Names the dynamic dimensions after what they count."""
    caches = () if captured.cache is None else (*captured.cache.inputs, *captured.cache.outputs)
    names = dict.fromkeys(caches, "capacity") | dict.fromkeys(captured.of_text, "text_tokens")
    for value in [*model.graph.inputs, *model.graph.outputs]:
        name = names.get(str(value.name), "tokens")
        assert value.shape is not None
        value.shape = ir.Shape([dim if isinstance(dim, int) else name for dim in value.shape])


def _write(model: ir.Model, path: Path, kind: str | None, report: Report) -> None:
    if kind is None:
        report("writing")
        data = path.with_name(f"{path.name}.data")
        ir.save(model, path, external_data=data.name)
        if not data.stat().st_size:
            data.unlink()
        return
    weights = take_weights(model)
    quantise(ir.serde.serialize_model(model), weights, path, kind, report)


def _array(weight: torch.Tensor) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return weight.detach().float().numpy()
