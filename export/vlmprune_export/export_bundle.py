"""Exports a checkpoint to a bundle, which is written whole or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tokenizers import Tokenizer

from vlmprune_export.backends import Backend, backend_for
from vlmprune_export.calibration import sample_calibration
from vlmprune_export.checkpoint import POCKET, Checkpoint, load_checkpoint
from vlmprune_export.checkpoint.memory_check import need_of
from vlmprune_export.consistency import check_decoder, check_parts, check_prompt, check_tokenizer
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.disk_space import enough_disk, needed_bytes
from vlmprune_export.families import build_family
from vlmprune_export.memory_estimate import estimate
from vlmprune_export.pipeline import pipeline_of
from vlmprune_export.processor import (
    default_grids,
    generation_settings,
    image_lengths,
    image_spec,
    layouts_of,
    prompt_spec,
)
from vlmprune_export.prompt_room import RoomRequest
from vlmprune_export.pruners.resize import RESIZE
from vlmprune_export.publishing import publishing
from vlmprune_export.quantisation_grids import QuantisationGrid
from vlmprune_export.smaller_images import with_smaller_grid
from vlmprune_export.staged_model import StagedModel
from vlmprune_export.tail_rounding import FIT_METHODS, fit_tail, round_tail
from vlmprune_export.vision_flops import count_vision_flops
from vlmprune_runtime import __version__
from vlmprune_runtime.bundle import counted_bytes, file_sha256
from vlmprune_runtime.errors import BadRequest, UnknownName
from vlmprune_runtime.progress import Report, part_of
from vlmprune_runtime.schema import MANIFEST, Bundle, ExportSettings, FileEntry, ImageSpec, Pruner, SchemaVersion

TILES_PRUNED = ("each", "jointly")


@dataclass(frozen=True)
class ExportRequest:
    """Settings of one export.

    `images` is how many images a prompt has room for, None standing for one, or two where the family is trained on
    several. `context_tokens` None leaves room for as many of the largest images and 448 text tokens.

    `grids` (height, width), in visual tokens, are those that images are resized to, where the family takes any; none
    stands for a few shapes about the processor's usual size.

    `tiles` is how many tiles an image's longer side becomes, where the checkpoint splits images into tiles; None
    leaves that to the checkpoint. `tiles_pruned` "each" prunes every tile by its share, "jointly" chooses among the
    tokens of all tiles of an image at once.

    `options` belong to the target, whose module lists their names and choices in `OPTIONS`. `fit` "none" rounds 4-bit
    weights to the nearest value; "gptq" minimises the change of the layers' outputs on a few images and questions.
    `ignore_memory` loads a checkpoint that is expected not to fit into memory.
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
    grids: tuple[tuple[int, int], ...] = ()
    tiles: int | None = None
    tiles_pruned: str = "each"
    ignore_memory: bool = False
    images: int | None = None


def export_bundle(request: ExportRequest, *, progress: Report = lambda line: None) -> Path:
    """Writes the bundle and returns its folder. `progress` is called with each step as it begins.

    Raises `BadRequest` for a request that cannot be met, `CaptureError` and `LoweringError` with the stage.
    """
    backend = backend_for(request.target)
    if request.quantisation not in backend.QUANTISATIONS:
        raise UnknownName("quantisation", request.quantisation, backend.QUANTISATIONS)
    if request.tiles_pruned not in TILES_PRUNED:
        raise UnknownName("way of pruning tiles", request.tiles_pruned, TILES_PRUNED)
    if request.fit not in FIT_METHODS:
        raise UnknownName("fit", request.fit, FIT_METHODS)
    _check_options(request, backend)
    need = None if request.ignore_memory else need_of(request.target, request.quantisation)
    with publishing(request.out, force=request.force, notice=progress) as folder:
        checkpoint = load_checkpoint(request.model, progress=progress, need=need)
        needed = needed_bytes(checkpoint.model, request.target, request.quantisation)
        with enough_disk(folder, needed, request.out):
            _write(checkpoint, request, backend, folder, progress)
    return request.out


def _check_options(request: ExportRequest, backend: Backend) -> None:
    allowed: Mapping[str, tuple[str, ...]] = getattr(backend, "OPTIONS", {})
    for name, value in request.options.items():
        if name not in allowed:
            raise BadRequest(f"target {request.target!r} has no option {name!r}")
        if allowed[name] and value not in allowed[name]:
            raise UnknownName(name, value, allowed[name])


def _write(checkpoint: Checkpoint, request: ExportRequest, backend: Backend, folder: Path, progress: Report) -> None:
    image_processor = checkpoint.processor.image_processor
    family = build_family(checkpoint.model, request.grids or default_grids(image_processor))
    image, smaller = image_spec(image_processor, family, progress, tiles=request.tiles), None
    if request.prune.method == RESIZE:
        family, smaller = with_smaller_grid(family, request.prune, image)
    tokenizer = _tokenizer(checkpoint)
    check_tokenizer(checkpoint, tokenizer)
    prompt = prompt_spec(checkpoint.processor, checkpoint.model, progress)
    lengths = image_lengths(image, prompt, tokenizer)
    image_tokens = lengths[-1].tokens(max(grid.view_tokens for grid in family.grids))
    asked = RoomRequest(request.context_tokens, request.images, family.images, family.max_positions)
    room = asked.room(image_tokens)
    context = room.context_tokens
    staged = StagedModel(family, _with_mosaics(request, image), context)
    staged.image_lengths, staged.images = lengths, room.images
    check_decoder(staged, request.target, request.quantisation)
    check_parts(tokenizer, staged)
    check_prompt(tokenizer, prompt, staged)
    generation = generation_settings(checkpoint.model, progress)
    grid: QuantisationGrid | None = getattr(backend, "FITTED", {}).get(request.quantisation)
    if grid is not None and request.fit == "gptq":
        fit_tail(staged, grid, sample_calibration(staged.pipeline, tokenizer, prompt, image), progress)
    elif grid is not None:
        round_tail(staged, grid, progress)
    stages = backend.lower(
        staged, folder, quantisation=request.quantisation, context_tokens=context,
        report=lambda stage: progress(f"lowering {stage}"), **request.options,
    )  # fmt: skip
    progress("writing the manifest")
    tokenizer.save(str(folder / "tokenizer.json"))
    flops = [count_vision_flops(family, nth) for nth in range(len(family.grids))]
    pipeline = pipeline_of(family, staged.cuts, stages, flops)
    manifest = Bundle(
        **dict(pipeline),
        schema=SchemaVersion(),
        name=checkpoint.name,
        model_type=str(checkpoint.model.config.model_type),  # type: ignore[union-attr]
        target=request.target,  # type: ignore[arg-type]
        source=checkpoint.source,
        quantisation=request.quantisation,  # type: ignore[arg-type]
        image=image,
        pruned_image=smaller,
        prompt=prompt,
        generation=generation,
        pruner=Pruner(method=staged.method, settings=staged.settings()),
        text_model=family.text_model,
        context_tokens=context,
        memory=estimate(folder, stages, family.text_model, context),
        export=ExportSettings(fit=None if grid is None else request.fit, options=dict(request.options)),  # type: ignore[arg-type]
        versions={"vlmprune": __version__, **backend.versions()},
        files=_entries(folder, part_of("writing the manifest", progress)),
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    _as_readable_as_the_manifest(folder)


def _with_mosaics(request: ExportRequest, image: ImageSpec) -> PruneOptions:
    """Returns the options of pruning, with the tiles that images may have where these are pruned together."""
    if request.tiles_pruned == "each":
        return request.prune
    if request.prune.method == RESIZE or image.split is None:
        raise BadRequest("tiles-pruned: got jointly; allowed for a model that splits images, and a pruner: each")
    return replace(request.prune, mosaics=tuple(tiles for tiles in layouts_of(image) if tiles != (0, 0)))


def _as_readable_as_the_manifest(folder: Path) -> None:
    """Gives every file the manifest's mode, for some libraries write files that only their owner can read."""
    mode = (folder / MANIFEST).stat().st_mode
    for path in folder.rglob("*"):
        path.chmod(mode | (mode & 0o444) >> 2 if path.is_dir() else mode)  # whoever may read a folder may enter it


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    backend: Tokenizer | None = getattr(checkpoint.processor.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise BadRequest("the checkpoint's tokenizer has no tokenizer.json form (a fast tokenizer)")
    return backend


def _entries(folder: Path, report: Report) -> dict[str, FileEntry]:
    """Returns size and hash of every file; `report` gets how much is read."""
    sizes = {path: path.stat().st_size for path in _files(folder)}
    read = counted_bytes(sum(sizes.values()), part_of("hashing", report))
    return {
        path.relative_to(folder).as_posix(): FileEntry(size_bytes=size, sha256=file_sha256(path, read))
        for path, size in sizes.items()
    }
