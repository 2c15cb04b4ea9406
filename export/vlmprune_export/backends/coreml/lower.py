"""Lowers stages to Core ML packages: capture, convert, compress, join, describe, check."""

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from vlmprune_export.backends.coreml.cache import StateLayout, state_layout
from vlmprune_export.backends.coreml.capture import capture
from vlmprune_export.backends.coreml.compress import PLANS, compress, float_weights, operators
from vlmprune_export.backends.coreml.convert import TARGETS, convert
from vlmprune_export.backends.coreml.describe import declare, describe, inputs_of
from vlmprune_export.backends.coreml.function_lengths import PromptLength, functions_of, prompt_lengths
from vlmprune_export.backends.coreml.lint import lint
from vlmprune_export.backends.coreml.metadata import annotate
from vlmprune_export.backends.coreml.package import join, name_items, save_function
from vlmprune_export.backends.float_weights import sum_float_weights
from vlmprune_export.backends.lowering_errors import lowering
from vlmprune_export.quiet_libraries import quiet
from vlmprune_export.stage_table import StageEntry
from vlmprune_export.staged_model import StagedModel
from vlmprune_runtime.progress import Report, part_of
from vlmprune_runtime.schema import FloatWeights, Lowering, Stage

QUANTISATIONS = tuple(PLANS)
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "prune_form": ("loop", "unrolled"),
    "text_tokens": (),
    "precision": ("fp16", "fp32"),
    "head_bits": ("8", "16"),
    "deployment": tuple(TARGETS),
}


@dataclass(frozen=True)
class Settings:
    """The settings of one export; `lengths` are those of prompts that prefills have room for."""

    context_tokens: int
    lengths: tuple[PromptLength, ...]
    half: bool
    unrolled: bool
    deployment: str
    plan: Mapping[str, str]


def lower(
    staged: StagedModel,
    folder: Path,
    *,
    quantisation: str,
    context_tokens: int,
    report: Report,
    prune_form: str = "loop",
    text_tokens: str | None = None,
    precision: str = "fp16",
    head_bits: str = "8",
    deployment: str = "ios18",
) -> dict[str, Stage]:
    """Writes a package per stage into `folder`, with caches for `context_tokens` rounded up to whole steps.

    `head_bits` "16" leaves the weights of `head` as they are when the others are quantised.
    """
    plan = {name: kind for name, kind in PLANS[quantisation].items() if name != "head" or head_bits == "8"}
    lengths = prompt_lengths(staged, text_tokens, context_tokens)
    settings = Settings(context_tokens, lengths, precision == "fp16", prune_form == "unrolled", deployment, plan)
    stages = {}
    for name in staged.stages:
        stages[name] = _lower_stage(staged, name, folder, settings, report)
    return stages


def versions() -> dict[str, str]:
    """Returns the versions of the exporter packages, and the oldest systems that can run the Core ML packages."""
    packages = {name: version(name) for name in ("torch", "transformers", "coremltools")}
    return packages | {"ios": "18", "macos": "15"}


def _lower_stage(staged: StagedModel, name: str, folder: Path, settings: Settings, report: Report) -> Stage:
    entry, declared = staged.stages[name], declare(staged.stages[name])
    functions = functions_of(staged.pipeline, name, settings.lengths)
    layout = _layout(staged, entry, settings.context_tokens)
    package = folder / f"{name}.mlpackage"
    kinds, floats = set[str](), tuple[FloatWeights, ...]()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".functions-") as scratch:
        saved = {function.name: Path(scratch) / f"{function.name}.mlpackage" for function in functions}
        for function in functions:
            part = part_of(name if len(functions) == 1 else f"{name}: {function.name}", report)
            part("capturing")
            with quiet(logging.ERROR):
                one = entry.of_grid(function.grid or 0)
                inputs = inputs_of(declare(one), function)
                captured = capture(one, inputs, function, layout=layout, unrolled=settings.unrolled)
            with lowering(name, "coreml", level=logging.ERROR):
                half = settings.half and declared.role != "prune"
                model = convert(captured, half=half, deployment=settings.deployment, report=part)
                model = compress(model, name, settings.plan.get(entry.plan_name), part)
                kinds |= operators(model)
                floats = sum_float_weights(float_weights(model)) if entry.plan_name in settings.plan else ()
                part("writing")
                save_function(model, saved[function.name])
        report(f"{name}: joining the functions")
        with lowering(name, "coreml", level=logging.ERROR):
            join(saved, package)
            name_items(package)
            lint(package)
    stage = describe(entry, package, functions, settings.plan.get(entry.plan_name, "none"), layout)
    report_of_lowering = Lowering(
        backend="coreml", delegates=(), delegated_fraction=0.0, operators=tuple(sorted(kinds)),
        status="lowered, not run", float_weights=floats,
    )  # fmt: skip
    stage = stage.model_copy(update={"lowering": report_of_lowering})
    annotate(package, stage, staged, settings.context_tokens)
    return stage


def _layout(staged: StagedModel, entry: StageEntry, context_tokens: int) -> StateLayout | None:
    if entry.declared.cache is None:
        return None
    return state_layout(entry.name, entry.decoder, staged.family.text_model, context_tokens)
