"""The one table of stages: module, inputs with their sources, outputs, cache and an example of each.

The captures of all backends, the eager engine and the manifest are made from it; a new input of a stage is one line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vlmprune_export.cuts import PlannedCut
from vlmprune_export.families import Family, ImageGrid
from vlmprune_export.families.family import DEEPSTACK, VIEWS
from vlmprune_export.pruners import Need
from vlmprune_export.pruners.needs import PIXELS, TOWER_TENSORS, CutPlace
from vlmprune_export.stage_modules import READABLE, DecoderStage, EmbedStage, VisionStage
from vlmprune_runtime import schema
from vlmprune_runtime.schema import Cache, CacheLayer, Input, Stage

EXAMPLE_TOKENS = 6  # any length but 0 and 1, which exporters take for constants
POSITIONS, PAST_TOKENS = "positions", "past_tokens"
FREE = {"tokens", "text_tokens"}


@dataclass(frozen=True)
class StageEntry:
    """One entry of the table. `modules` has one module, or one per grid where a stage differs by grid.

    A prune stage has one per mosaic behind those of the grids; what is said of grids below holds for mosaics too.

    `declared` is what the manifest says of it, without graphs, and with the first grid's shapes where it differs by
    grid; `by_grid` is the same with the shapes of each module's grid.
    """

    name: str
    declared: Stage
    modules: tuple[nn.Module, ...]
    by_grid: tuple[Stage, ...]

    def of_grid(self, nth: int) -> "StageEntry":
        """Returns the entry of the `nth` grid alone; that of a stage which serves every grid is the whole entry."""
        if len(self.modules) == 1:
            return self
        return StageEntry(self.name, self.by_grid[nth], self.modules[nth : nth + 1], self.by_grid[nth : nth + 1])

    @property
    def each_grid(self) -> tuple["StageEntry", ...]:
        """Returns the entry of each grid, or the whole entry alone."""
        return tuple(self.of_grid(nth) for nth in range(len(self.modules)))

    def grid_of(self, nth: int) -> int | None:
        """Returns the index of the only grid that the `nth` module serves, None if it serves every grid."""
        return nth if len(self.modules) > 1 else None

    @property
    def module(self) -> nn.Module:
        """Returns the module of the first grid."""
        return self.modules[0]

    @property
    def decoder(self) -> DecoderStage:
        """Returns the module of a stage of role `decoder`."""
        assert isinstance(self.module, DecoderStage)
        return self.module

    @property
    def output_names(self) -> tuple[str, ...]:
        """Returns the names of the outputs, in the module's order."""
        return tuple(tensor.name for tensor in self.declared.outputs)

    @property
    def runs_tower(self) -> bool:
        """Returns whether the stage runs the vision tower: the vision stage, or a pruner that drops tokens inside."""
        return any(tensor.source == "image.pixels" for tensor in self.declared.inputs)

    @property
    def plan_name(self) -> str:
        """Returns the stage by whose rule this one is quantised: what runs the tower is quantised like `vision`."""
        return "vision" if self.runs_tower else self.name

    def examples(self, tokens: int = EXAMPLE_TOKENS) -> dict[str, Tensor]:
        """Returns an example of every input, with so many tokens where that is free."""
        return {tensor.name: example(tensor, tokens) for tensor in self.declared.inputs}


def example(tensor: Input, tokens: int) -> Tensor:
    """Returns an example of one input: distinct features, so that a selection has something to choose by."""
    shape = [size if isinstance(size, int) else tokens for size in tensor.shape]
    dtype = getattr(torch, tensor.dtype)
    if tensor.source == "sequence.positions":
        return torch.arange(tokens, dtype=dtype).expand(shape).clone()
    if not dtype.is_floating_point:
        return torch.zeros(shape, dtype=dtype)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def stage_table(family: Family, cuts: Sequence[PlannedCut]) -> dict[str, StageEntry]:
    """Returns the stages by name, in the order in which a prompt runs through them."""
    decoders = _decoders(family, cuts)
    deepstack = (DEEPSTACK,) if family.traits.deepstack_layers else ()
    before = [_embed(family), _vision(family, (*_tower_reads(cuts), *deepstack))]
    rows = [*before, *(_prune(family, cut) for cut in cuts if cut.at != "layer")]
    for name, (first, last) in decoders.items():
        rows.append(_decoder(family, name, first, last, _reads(cuts, last)))
        rows += [_prune(family, cut) for cut in cuts if cut.at == "layer" and cut.layer == last]
    return {row.name: row for row in rows}


def _decoders(family: Family, cuts: Sequence[PlannedCut]) -> dict[str, tuple[int, int]]:
    """Returns the layers of each decoder stage: `head` before a cut within the decoder, `tail` after it."""
    layers = len(family.layers)
    inner = [cut.layer for cut in cuts if cut.at == "layer"]
    return {"head": (0, inner[0]), "tail": (inner[0], layers)} if inner else {"tail": (0, layers)}


def _reads(cuts: Sequence[PlannedCut], last: int) -> tuple[str, ...]:
    """Returns what the pruner behind layer `last` - 1 reads of that layer beside the hidden states."""
    needs = {need.tensor for cut in cuts if cut.at == "layer" and cut.layer == last for need in cut.needs}
    return tuple(name for name in READABLE if name in needs)


def _tower_reads(cuts: Sequence[PlannedCut]) -> tuple[str, ...]:
    """Returns what pruners read of the vision tower beside the visual embeddings."""
    needs = {need.tensor for cut in cuts for need in cut.needs}
    return tuple(name for name in TOWER_TENSORS if name in needs)


def _vision(family: Family, reads: tuple[str, ...]) -> StageEntry:
    """Returns the entry of the vision stage, which sees one view, in each grid's shapes."""
    stages, width = list[Stage](), family.text_model.hidden_size
    for grid in family.grids:
        inputs = (_pixels(grid),)
        shown = [_output(read, (grid.view_tokens, *family.tower_shapes[read])) for read in reads]
        outputs = (_output("features", (grid.view_tokens, width)), *shown)
        stages.append(Stage(role="vision", inputs=inputs, outputs=outputs))
    modules = tuple(VisionStage(family, nth, reads) for nth in range(len(family.grids)))
    return StageEntry("vision", stages[0], modules, tuple(stages))


def _pixels(grid: ImageGrid) -> Input:
    return _floats("pixels", (1, 3, grid.height_px, grid.width_px), "image.pixels")


def _embed(family: Family) -> StageEntry:
    inputs = (_integers("token_ids", ("tokens",), "prompt.token_ids"),)
    outputs = (_output("embeddings", ("tokens", family.text_model.hidden_size)),)
    return _entry("embed", "embed", inputs, outputs, (EmbedStage(family),))


def _decoder(family: Family, name: str, first: int, last: int, reads: tuple[str, ...]) -> StageEntry:
    text, axes = family.text_model, family.positions.axes
    widths = _widths(text)
    inputs = (
        _floats("hidden" if first else "embeddings", ("tokens", text.hidden_size), "sequence.rows"),
        _integers(POSITIONS, ("tokens",) if axes == 1 else (axes, "tokens"), "sequence.positions", pad="last"),
        _integers(PAST_TOKENS, (1,), "sequence.past_tokens", dtype="int32"),
        *(_trait_input(family, extra) for extra in family.traits.inputs),
    )
    if last < len(family.layers):
        shown = [_output(read, ("tokens", widths[read])) for read in reads]
        outputs = (_output("hidden", ("tokens", text.hidden_size)), *shown)
    else:
        outputs = (_output("logits", (text.vocab_size,)),)
    module = DecoderStage(family, first, last, reads)
    return _entry(name, "decoder", inputs, outputs, (module,), _cache(family, first, last))


def _trait_input(family: Family, name: str) -> Input:
    """Returns what a decoder stage takes for one of the family's traits, a row for every token."""
    if name == VIEWS:
        return _integers(VIEWS, ("tokens",), "sequence.views", pad="last")
    layers = len(family.traits.deepstack_layers)
    return _floats(DEEPSTACK, ("tokens", layers, family.text_model.hidden_size), "sequence.deepstack")


def _prune(family: Family, cut: PlannedCut) -> StageEntry:
    stages, width = list[Stage](), family.text_model.hidden_size
    grids = (*family.grids, *family.grids[:1] * len(cut.mosaics))
    for grid, (tokens, keep) in zip(grids, cut.sizes, strict=True):
        inputs = tuple(_pixels(grid) if need == PIXELS else _need(family, cut, need, tokens) for need in cut.needs)
        shapes = {"kept": (keep,), "fused": (keep, width), "rank": (keep,), "count": (1,)}
        outputs = tuple(
            schema.Tensor(name=name, dtype="float32" if name == "fused" else "int64", shape=shapes[name])
            for name in cut.modules[0].outputs
        )
        stages.append(Stage(role="prune", inputs=inputs, outputs=outputs))
    return StageEntry(cut.stage, stages[0], cut.modules, tuple(stages))


def _need(family: Family, cut: PlannedCut, need: Need, tokens: int) -> Input:
    text = family.text_model
    rows: dict[str, int | str] = {"visual": tokens, "text": "text_tokens", "last": 1, "all": "tokens"}
    widths = _widths(text)
    if need.tensor in TOWER_TENSORS:
        return _floats(need.name, (rows["visual"], *family.tower_shapes[need.tensor]), source_of(cut.at, need))
    if need.tensor == "places":
        return _integers(need.name, (rows[need.tokens],), source_of(cut.at, need))
    shape = (rows[need.tokens], widths.get(need.tensor, text.hidden_size))
    return _floats(need.name, shape, source_of(cut.at, need))


def source_of(at: CutPlace, need: Need) -> str:
    """Returns the source of a need's tensor, by the place of the cut."""
    part = "" if need.tokens == "all" else f"[{need.tokens}]"
    if need.tensor == "places":
        return f"sequence.places{part}"
    if need.tensor in (*TOWER_TENSORS, "joint"):
        return f"vision.{need.tensor}"
    if at != "layer" or need.tensor == "embeddings":
        return "vision.features" if need.tokens == "visual" else f"embed.embeddings{part}"
    return f"head.{need.tensor}{part}"


def _widths(text: schema.TextModel) -> dict[str, int]:
    """Returns the width of a row of keys or queries, all heads side by side."""
    keys, query = text.kv_heads * text.head_dim, text.attention_heads * text.head_dim
    return {"keys": keys, "query": query, "next_keys": keys, "next_query": query}


def _cache(family: Family, first: int, last: int) -> Cache:
    """The cache of a run of layers; who owns it and how it is laid out is each backend's to say."""
    text = family.text_model
    kinds, window = family.layer_kinds, family.traits.window_tokens
    layers = tuple(
        CacheLayer(layer=index, kind=kinds[index], window_tokens=window if kinds[index] == "sliding" else None)
        for index in range(first, last)
    )
    return Cache(
        owner="graph", layers=layers, kv_heads=text.kv_heads, head_dim=text.head_dim, dtype="float32",
        layout=("batch", "kv_heads", "capacity", "head_dim"), capacity_tokens=family.max_positions,
    )  # fmt: skip


def _entry(
    name: str, role: Any, inputs: tuple[Input, ...], outputs: tuple[schema.Tensor, ...],
    modules: tuple[nn.Module, ...], cache: Cache | None = None,
) -> StageEntry:  # fmt: skip
    stage = Stage(role=role, inputs=inputs, outputs=outputs, cache=cache)
    return StageEntry(name, stage, modules, (stage,))


def _floats(name: str, shape: Any, source: str) -> Input:
    return Input(name=name, dtype="float32", shape=shape, source=source, pad="zero" if FREE & set(shape) else None)


def _integers(name: str, shape: Any, source: str, *, dtype: Any = "int64", pad: Any = "zero") -> Input:
    return Input(name=name, dtype=dtype, shape=shape, source=source, pad=pad if FREE & set(shape) else None)


def _output(name: str, shape: Any) -> schema.Tensor:
    return schema.Tensor(name=name, dtype="float32", shape=shape)
