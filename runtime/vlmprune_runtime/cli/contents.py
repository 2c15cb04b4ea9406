"""Builds the tables that `vlmprune-inspect` shows."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from vlmprune_runtime.byte_size import format_bytes
from vlmprune_runtime.errors import printable
from vlmprune_runtime.schema import (
    Bundle,
    Crop,
    Cut,
    Generation,
    Grid,
    ImageSpec,
    Pad,
    Resize,
    Segment,
    Split,
    Stage,
    Tensor,
    is_package,
)
from vlmprune_runtime.schema.image import GeometricStep

SAMPLING_ONLY = {"temperature", "top_k", "top_p", "min_p"}  # settings without effect on greedy decoding


def facts_table(bundle: Bundle) -> Table:
    """Returns a table of model, pruner, image, prompt, memory, versions and parity, one fact per line."""
    table = Table(title=printable(f"{bundle.name}: {bundle.model_type} for {bundle.target}"), show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts(bundle):
        table.add_row(name, printable(value))
    return table


def facts(bundle: Bundle) -> Iterator[tuple[str, str]]:
    """Yields the name and the value of each fact."""
    source, pruner = bundle.source, bundle.pruner
    settings = ", ".join(f"{key} {value}" for key, value in pruner.settings.items())
    yield "source", " ".join(filter(None, (source.model, source.revision, source.sha256)))
    yield (
        "quantisation",
        f"{bundle.quantisation}, fit {bundle.export.fit}" if bundle.export.fit else bundle.quantisation,
    )
    yield "export options", ", ".join(f"{name} {value}" for name, value in bundle.export.options.items()) or "none"
    yield "pruner", f"{pruner.method}, {settings or 'no settings'}"
    for nth, cut in enumerate(bundle.cuts):
        yield f"cut {nth + 1}", cut_line(bundle, nth, cut)
    for grid in bundle.grids:
        yield "grid", grid_line(grid)
    if bundle.mosaics:
        yield "pruned together", mosaics_line(bundle)
    yield "prefill", " -> ".join(bundle.prefill)
    yield "image", image_line(bundle.image)
    yield "prompt", " ".join(map(segment_line, bundle.prompt.segments))
    if tiles := bundle.prompt.tiles:
        yield "image in tiles", f"{tiles.tile!a} a tile, {tiles.row_end!a} behind a row, {tiles.whole!a} the whole"
    further = bundle.prompt.follow_up
    yield "further turn", " ".join(map(segment_line, further.segments)) if further else "none"
    yield "stop tokens", ", ".join(map(str, bundle.generation.stop_token_ids)) or "none"
    yield "generation", generation_line(bundle.generation)
    yield "text model", text_line(bundle)
    yield "memory", memory_line(bundle)
    yield "versions", ", ".join(f"{name} {version}" for name, version in bundle.versions.items())
    yield "files", f"{len(bundle.files)}, {format_bytes(sum(file.size_bytes for file in bundle.files.values()))}"
    yield "parity", parity_line(bundle.parity)


def segment_line(segment: Segment) -> str:
    """Returns one segment of a prompt: text in quotes, places in brackets with the settings that are no defaults.

    >>> from vlmprune_runtime.schema import ImagesSegment, TextSegment
    >>> segment_line(TextSegment(text="Q: ")), segment_line(ImagesSegment(most=1))
    ("'Q: '", '[images most=1]')
    """
    if segment.kind == "text":
        return ascii(segment.text)
    settings = segment.model_dump(exclude={"kind", "edits"}, exclude_defaults=True)
    notes = [segment.kind, *(f"{name}={value!a}" for name, value in settings.items())]
    if segment.kind == "user_text":
        notes += [edit.kind for edit in segment.edits]
    return f"[{' '.join(notes)}]"


def generation_line(settings: Generation) -> str:
    """Returns every setting that has an effect, and the length of a list in place of the list.

    >>> generation_line(Generation(stop_token_ids=(2,), repetition_penalty=1.1, suppress_token_ids=tuple(range(9))))
    'repetition_penalty 1.1, suppress_token_ids 9 ids'
    """
    without_effect = {"stop_token_ids"} | (set() if settings.do_sample else SAMPLING_ONLY)
    changed = settings.model_dump(exclude=without_effect, exclude_defaults=True)
    texts = {name: f"{len(value)} ids" if isinstance(value, tuple) else value for name, value in changed.items()}
    return ", ".join(f"{name} {value}" for name, value in texts.items()) or "the likeliest token"


def cut_line(bundle: Bundle, nth: int, cut: Cut) -> str:
    """Says where visual tokens are dropped, by which stage, and how many stay."""
    places = {"vision": "after the vision stage", "input": "at the language model's input"}
    place = places.get(cut.at, f"before decoder layer {cut.layer}")
    kept = ", ".join(f"{grid.keep[nth]} of {(grid.visual_tokens, *grid.keep)[nth]}" for grid in bundle.grids)
    return f"{place} by stage {cut.stage}: {kept} tokens stay"


def grid_line(grid: Grid) -> str:
    """Returns the visual tokens and the pixels of a grid, and how many tokens pruning keeps."""
    return (
        f"{grid.height} x {grid.width} = {grid.visual_tokens} visual tokens of {grid.height_px} x {grid.width_px} px; "
        f"{grid.kept_tokens} kept, {grid.mean_visual_tokens:.1f} on average over the decoder layers"
    )


def mosaics_line(bundle: Bundle) -> str:
    """Says of which tiles the cuts choose together, and how many visual tokens stay of them."""
    texts = []
    for index, mosaic in enumerate(bundle.mosaics, start=len(bundle.grids)):
        before, *_, kept = bundle.tokens_of(index)
        texts.append(f"{mosaic.rows} x {mosaic.columns} ({kept} of {before})")
    return f"the tiles of an image: {', '.join(texts)}"


def stages_table(bundle: Bundle) -> Table:
    """Returns a table of the files, the cache and the quantisation of each stage, in the order of prefill."""
    table = Table(title="stages")
    for name in ("stage", "files", "size", "cache", "weights"):
        table.add_column(name, justify="right" if name == "size" else "left", overflow="fold")
    for name in bundle.prefill:
        stage = bundle.stages[name]
        files = [file for file in stage.files if not is_package(file.split("/")[0])]
        files = [*files, *filter(is_package, stage.graph_files)]
        size = format_bytes(stage_bytes(bundle, name))
        table.add_row(name, "\n".join(files), size, cache_line(stage), stage.quantisation)
    return table


def float_table(bundle: Bundle) -> Table | None:
    """Returns a table of the weights of quantised stages that stay in floating point, None if there are none."""
    table = Table(title="in floating point")
    for name in ("stage", "operator", "weights", "size", "of the stage", "why"):
        table.add_column(name, justify="right" if name in ("weights", "size", "of the stage") else "left")
    for name in bundle.prefill:
        lowering, size = bundle.stages[name].lowering, stage_bytes(bundle, name)
        for one in lowering.float_weights if lowering else ():
            share = f"{one.size_bytes / max(1, size):.1%}"
            table.add_row(
                name, printable(one.operator), f"{one.weights:,}", format_bytes(one.size_bytes), share,
                printable(one.reason),
            )  # fmt: skip
    return table if table.rows else None


def stage_bytes(bundle: Bundle, name: str) -> int:
    """Returns the bytes of all files of a stage."""
    return sum(bundle.files[file].size_bytes for file in bundle.stages[name].files)


def tensors_table(bundle: Bundle) -> Table:
    """Returns a table of every tensor that a stage takes or gives, and of the source of each input."""
    table = Table(title="tensors")
    for name in ("stage", "takes", "from", "gives"):
        table.add_column(name, overflow="fold")
    for name in bundle.prefill:
        stage = bundle.stages[name]
        table.add_row(
            name,
            "\n".join(map(tensor_line, stage.inputs)),
            "\n".join(tensor.source for tensor in stage.inputs),
            "\n".join(map(tensor_line, stage.outputs)),
        )
    return table


def tensor_line(tensor: Tensor) -> str:
    """Returns the name, shape and dtype of a tensor.

    >>> tensor_line(Tensor(name="hidden", dtype="float32", shape=("tokens", 64)))
    'hidden (tokens, 64) float32'
    """
    sizes = ", ".join(map(str, tensor.shape))
    return printable(f"{tensor.name} ({sizes}) {tensor.dtype}")


def cache_line(stage: Stage) -> str:
    """Returns the layers, heads and dtype of a stage's KV cache; an empty text if the stage has none."""
    cache = stage.cache
    if cache is None:
        return ""
    return f"{len(cache.layers)} x {cache.kv_heads} x {cache.head_dim} {cache.dtype}, owned by the {cache.owner}"


def image_line(spec: ImageSpec) -> str:
    """Returns the steps that move pixels."""
    steps = [*spec.geometric_steps, *([spec.split] if spec.split else [])]
    return ", ".join(map(step_line, steps)) or "used at its own size"


def step_line(step: GeometricStep | Split) -> str:
    """Returns one step that moves pixels, with its sizes.

    >>> step_line(Crop(height_px=3, width_px=4))
    'crop 3 x 4'
    """
    match step:
        case Pad():
            return "pad to a square"
        case Crop():
            return f"crop {step.height_px} x {step.width_px}"
        case Split():
            return f"tiles of {step.tile_px} and the whole"
        case Resize():
            sizes = " ".join(str(value) for value in step.to.model_dump(exclude={"mode"}).values())
            return f"{step.to.mode} {sizes} {step.kernel.filter}"


def text_line(bundle: Bundle) -> str:
    """Returns the dimensions of the language model."""
    text = bundle.text_model
    heads = f"{text.attention_heads} heads ({text.kv_heads} of keys) of {text.head_dim}"
    return f"{text.layers} layers, width {text.hidden_size}, {heads}, context {bundle.context_tokens} tokens"


def memory_line(bundle: Bundle) -> str:
    """Returns the estimated peak of memory and its parts."""
    need = bundle.memory
    parts = (need.weights_bytes, need.kv_cache_bytes, need.activations_bytes)
    weights, cache, activations = map(format_bytes, parts)
    return f"about {format_bytes(need.peak_bytes)}: weights {weights}, KV cache {cache}, activations {activations}"


def parity_line(parity: dict[str, Any] | None) -> str:
    """Says whether the bundle was compared with PyTorch, and with which result."""
    return "not checked" if parity is None else ", ".join(f"{key} {value}" for key, value in parity.items())
