"""Runs a bundle's engine and eager PyTorch side by side, and reports whether they agree within limits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vlmprune_export.checkpoint import load_checkpoint
from vlmprune_export.checkpoint.memory_check import LOADED
from vlmprune_export.checkpoint.origin import model_argument
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.families import build_family
from vlmprune_export.parity.candidates import candidates, check_units
from vlmprune_export.parity.limits import Limits, limits_for
from vlmprune_export.parity.overlap import compare_kept, images_in
from vlmprune_export.parity.report import CheckReport
from vlmprune_export.parity.stage_differences import Difference, compare_stages
from vlmprune_export.parity.token_agreement import Agreement, compare_generation
from vlmprune_export.staged_model import StagedModel
from vlmprune_export.torch_engine import TorchEngine
from vlmprune_runtime.bundle import OpenBundle, open_bundle
from vlmprune_runtime.engines import Engine
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.image_loading import check_image, load_image
from vlmprune_runtime.progress import Report, part_of
from vlmprune_runtime.prompt import check_room, load_tokenizer
from vlmprune_runtime.question import Question, ask
from vlmprune_runtime.sample import SAMPLE_IMAGE, SAMPLE_PROMPT
from vlmprune_runtime.schema import Bundle, Pipeline


@dataclass(frozen=True)
class CheckRequest:
    """Which bundle, against which checkpoint (None: the one it was made from), on which image and prompt.

    `compute_units` are Core ML's, for a coreml bundle on macOS; None takes those that the bundle advises.
    `relative` replaces the limit of that name; the others stay those of the bundle's quantisation.
    `image_folder` is a folder on all of whose images the kept sets are compared too.
    `ignore_memory` loads a checkpoint that is expected not to fit into memory.
    """

    bundle: Path
    model: str | None = None
    image: Path | Sequence[Path] = SAMPLE_IMAGE
    prompt: str = SAMPLE_PROMPT
    tokens: int = 32
    relative: float | None = None
    compute_units: str | None = None
    image_folder: Path | None = None
    ignore_memory: bool = False

    @property
    def images(self) -> tuple[Path, ...]:
        """The images of the question, also if there is only one."""
        return (self.image,) if isinstance(self.image, Path) else tuple(self.image)


def check_bundle(request: CheckRequest, *, progress: Report = lambda line: None) -> CheckReport:
    """Compares stage by stage on identical inputs, and then whole answers, pruned and unpruned.

    Raises `BundleError`, and `BadRequest` when the checkpoint is not the one the bundle was made from.
    """
    more = images_in(request.image_folder) if request.image_folder else ()
    for image in request.images:
        check_image(image)
    progress("opening the bundle")
    bundle = open_bundle(request.bundle, report=part_of("opening the bundle", progress))
    manifest = bundle.manifest
    check_units(manifest.target, request.compute_units)
    images, parts = [load_image(image) for image in request.images], (load_tokenizer(bundle), manifest.prompt)
    asked, pruned = (
        ask(manifest, manifest.image_steps(prune=prune), parts, request.prompt, images) for prune in (False, True)
    )
    check_room(asked.prompt, manifest.context_tokens)
    _check_tokens(request.tokens, manifest.context_tokens - len(asked.prompt.token_ids))
    task = _Task(manifest, _reference(bundle, request, progress), asked, pruned)
    limits = {half: _limits(manifest, half, request.relative) for half in (False, True)}
    progress("loading the engine")
    reports = []
    for candidate in candidates(bundle, request.compute_units):
        comparison = _compared(task, candidate.engine, request.tokens, progress)
        both = (task.reference, candidate.engine)
        kept = compare_kept(manifest, both, (*parts, request.prompt), more, progress) if more else None
        reports.append(CheckReport(*comparison, limits[candidate.half], candidate.method, candidate.shows, kept))
    return replace(reports[0], device=reports[1]) if len(reports) > 1 else reports[0]


def _limits(manifest: Bundle, half: bool, relative: float | None) -> Limits:
    limits = limits_for(manifest.quantisation, half=half)
    return limits if relative is None else replace(limits, relative=relative)


@dataclass(frozen=True)
class _Task:
    """What every engine is asked, unpruned and pruned, and the reference it is held against."""

    pipeline: Pipeline
    reference: TorchEngine
    question: Question
    pruned: Question


def _compared(
    task: _Task, engine: Engine, tokens: int, progress: Report
) -> tuple[tuple[Difference, ...], tuple[Agreement, ...]]:
    engines, whole = (task.pipeline, task.reference, engine), (task.question.prompt, task.question.pixels)
    smaller = (task.pruned.prompt, task.pruned.pixels)
    progress("comparing stages")
    report = part_of("comparing stages", progress)
    differences = compare_stages(*engines, *whole, report=report)
    if task.pruned.prompt.grids != task.question.prompt.grids:
        of_smaller = compare_stages(*engines, *smaller, report=report)
        differences += tuple(replace(row, stage=f"{row.stage}, smaller image") for row in of_smaller)
    agreements = []
    for prune in (True, False):
        step, asked = f"comparing answers, {'pruned' if prune else 'unpruned'}", smaller if prune else whole
        progress(step)
        report = part_of(step, progress)
        agreements.append(compare_generation(*engines, *asked, tokens=tokens, prune=prune, report=report))
    return differences, tuple(agreements)


def _reference(bundle: OpenBundle, request: CheckRequest, progress: Report) -> TorchEngine:
    manifest = bundle.manifest
    need = None if request.ignore_memory else LOADED
    checkpoint = load_checkpoint(request.model or model_argument(manifest.source), progress=progress, need=need)
    if manifest.source.sha256 is not None and checkpoint.source.sha256 != manifest.source.sha256:
        raise BadRequest(
            f"{checkpoint.source.model!r} is not the checkpoint that this bundle was made from (other sha256); "
            "give it with --model or export again"
        )
    pruner = manifest.pruner
    grids = [(grid.height, grid.width) for grid in manifest.grids]
    keep = {grid.visual_tokens: grid.kept_tokens for grid in manifest.grids}
    mosaics = tuple((mosaic.rows, mosaic.columns) for mosaic in manifest.mosaics)
    options = PruneOptions(pruner.method, manifest.layer, keep, settings=pruner.settings, mosaics=mosaics)
    return TorchEngine(StagedModel(build_family(checkpoint.model, grids), options, manifest.context_tokens))


def _check_tokens(tokens: int, room: int) -> None:
    if not 1 <= tokens <= room:
        allowed = f"1 to {room} (what the context leaves after the prompt)" if room else "a prompt that leaves some"
        raise BadRequest(f"tokens: got {tokens}; allowed: {allowed}")
