"""`export_bundle`: one checkpoint in, one bundle out, written whole or not at all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer

from vlmprune_export.adapters import build_adapter
from vlmprune_export.agreement import check_parts, check_prompt
from vlmprune_export.backends import Backend, backend_for
from vlmprune_export.calibration import sample_calibration
from vlmprune_export.checkpoint import POCKET, Checkpoint, load_checkpoint
from vlmprune_export.fitting import FITS, fit_tail, round_tail
from vlmprune_export.flops import count_vision_flops
from vlmprune_export.grids import QuantisationGrid
from vlmprune_export.memory import estimate
from vlmprune_export.processor import generation_settings, image_spec, prompt_spec
from vlmprune_export.publishing import publishing
from vlmprune_export.staged import PruneOptions, StagedModel
from vlmprune_runtime import __version__
from vlmprune_runtime.bundle import file_sha256
from vlmprune_runtime.errors import BadRequest, UnknownName
from vlmprune_runtime.schema import MANIFEST, Bundle, FileEntry, Pruner

TEXT_ROOM_TOKENS = 448  # beyond the visual tokens, when no context is asked for
_CONTEXT_STEP_TOKENS = 64

Progress = Callable[[str], None]


@dataclass(frozen=True)
class ExportRequest:
    """What to export, how, and where to. `context_tokens` None leaves room for 448 text tokens.

    `options` are the target's own, by the names and choices in its module's `OPTIONS`. `fit` "none" rounds 4-bit
    weights to the nearest value, "gptq" so that the layers' outputs move least on a few pictures and questions.
    """

    out: Path
    model: str = POCKET
    target: str = "onnx"
    prune: PruneOptions = field(default_factory=PruneOptions)
    quantisation: str = "none"
    context_tokens: int | None = None
    force: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    fit: str = "gptq"


def export_bundle(request: ExportRequest, *, progress: Progress = lambda line: None) -> Path:
    """The bundle's folder. `progress` is told each step as it begins.

    Errors: `BadRequest` for wishes that cannot be met, `CaptureError`, `LoweringError`.
    """
    backend = backend_for(request.target)
    if request.quantisation not in backend.QUANTISATIONS:
        raise UnknownName("quantisation", request.quantisation, backend.QUANTISATIONS)
    if request.fit not in FITS:
        raise UnknownName("fit", request.fit, FITS)
    _check_options(request, backend)
    with publishing(request.out, force=request.force) as folder:
        checkpoint = load_checkpoint(request.model, progress=progress)
        _write(checkpoint, request, backend, folder, progress)
    return request.out


def _check_options(request: ExportRequest, backend: Backend) -> None:
    allowed: Mapping[str, tuple[str, ...]] = getattr(backend, "OPTIONS", {})
    for name, value in request.options.items():
        if name not in allowed:
            raise BadRequest(f"target {request.target!r} has no option {name!r}")
        if allowed[name] and value not in allowed[name]:
            raise UnknownName(name, value, allowed[name])


def _write(checkpoint: Checkpoint, request: ExportRequest, backend: Backend, folder: Path, progress: Progress) -> None:
    adapter = build_adapter(checkpoint.model)
    staged = StagedModel(adapter, request.prune)
    visual_tokens = adapter.grid[0] * adapter.grid[1]
    context = _context(request.context_tokens, visual_tokens, adapter.max_positions)
    tokenizer = _tokenizer(checkpoint)
    image = image_spec(checkpoint.processor.image_processor, adapter, progress)
    check_parts(checkpoint, tokenizer, staged)
    prompt = prompt_spec(checkpoint.processor, checkpoint.model, progress)
    check_prompt(tokenizer, prompt, staged)
    generation = generation_settings(checkpoint.model, progress)
    grid: QuantisationGrid | None = getattr(backend, "FITTED", {}).get(request.quantisation)
    if grid is not None and request.fit == "gptq":
        fit_tail(staged, grid, sample_calibration(tokenizer, prompt, image, visual_tokens), progress)
    elif grid is not None:
        round_tail(staged, grid, progress)
    stages = backend.lower(
        staged, folder, quantisation=request.quantisation, context_tokens=context,
        report=lambda stage: progress(f"lowering {stage}"), **request.options,
    )  # fmt: skip
    progress("writing the manifest")
    tokenizer.save(str(folder / "tokenizer.json"))
    manifest = Bundle(
        schema_version=1,
        name=checkpoint.name,
        model_type=str(checkpoint.model.config.model_type),  # type: ignore[union-attr]
        target=request.target,  # type: ignore[arg-type]
        source=checkpoint.source,
        quantisation=request.quantisation,  # type: ignore[arg-type]
        stages=stages,  # type: ignore[arg-type]
        image=image,
        prompt=prompt,
        generation=generation,
        pruner=_pruner(staged, visual_tokens),
        text_model=adapter.text_model,
        vision_flops=count_vision_flops(adapter),
        context_tokens=context,
        memory=estimate(folder, stages, adapter.text_model, context),
        versions={"vlmprune": __version__, **backend.versions()},
        files={path.relative_to(folder).as_posix(): _entry(path) for path in _files(folder)},
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    _as_readable_as_the_manifest(folder)


def _as_readable_as_the_manifest(folder: Path) -> None:
    """Some writers of weights give files and folders that only their owner can read."""
    mode = (folder / MANIFEST).stat().st_mode
    for path in folder.rglob("*"):
        path.chmod(mode | (mode & 0o444) >> 2 if path.is_dir() else mode)  # to be entered by whom it can be read


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _context(wish: int | None, visual_tokens: int, most: int) -> int:
    least = visual_tokens + 1
    if wish is None:
        step = _CONTEXT_STEP_TOKENS
        wish = min(most, -(-(visual_tokens + TEXT_ROOM_TOKENS) // step) * step)
    if not least <= wish <= most:
        raise BadRequest(f"context: got {wish} tokens; allowed: {least} to {most}")
    return wish


def _pruner(staged: StagedModel, visual_tokens: int) -> Pruner:
    options, layers = staged.options, len(staged.adapter.layers)
    mean = (options.layer * visual_tokens + (layers - options.layer) * staged.keep) / layers
    return Pruner(
        method=options.method,
        layer=options.layer,
        visual_tokens=visual_tokens,
        keep=staged.keep,
        mean_visual_tokens=round(mean, 3),
        settings=staged.pruner_settings(),
    )


def _tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    backend: Tokenizer | None = getattr(checkpoint.processor.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise BadRequest("the checkpoint's tokenizer has no tokenizer.json form (a fast tokenizer)")
    return backend


def _entry(path: Path) -> FileEntry:
    return FileEntry(size_bytes=path.stat().st_size, sha256=file_sha256(path))
