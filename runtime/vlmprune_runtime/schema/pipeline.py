"""Describes how the stages work together: grids of visual tokens, cuts, positions, and the order of the stages."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from vlmprune_runtime.errors import BadRequest, UnknownName
from vlmprune_runtime.schema.base import Name, Positive, Record
from vlmprune_runtime.schema.stage import Stage
from vlmprune_runtime.schema.tensor import parse_source


class Grid(Record):
    """Describes one image size that the vision stage takes, and the grid of its visual tokens, row by row.

    Before the tokens of the grid stand `prefix_tokens` rows of features that belong to no place in the image, such as
    a tower's register tokens; they are never pruned, and count on in positions like text.
    `keep` says how many tokens each cut leaves, in the order of `cuts`, or leaves at most if its stage gives `count`.
    `mean_visual_tokens` is the mean number of visual tokens over all decoder layers, by which pruners are compared.
    `vision_flops` are those of one view, a multiply-add counted as two; None where they were not counted.
    """

    height: Positive
    width: Positive
    height_px: Positive
    width_px: Positive
    prefix_tokens: Annotated[int, Field(ge=0)] = 0
    keep: tuple[Positive, ...]
    mean_visual_tokens: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    vision_flops: Positive | None = None

    @property
    def visual_tokens(self) -> int:
        """N, the tokens of one view that a cut may drop, before any cut."""
        return self.height * self.width

    @property
    def view_tokens(self) -> int:
        """All tokens that one view has in a prompt: the prefix and N."""
        return self.prefix_tokens + self.visual_tokens

    @property
    def kept_tokens(self) -> int:
        """K, the tokens of one view that the last decoder layers see."""
        return self.keep[-1] if self.keep else self.visual_tokens


class Mosaic(Record):
    """Names tiles that the cuts prune together: the `rows` x `columns` tiles of an image, each on the grid `grid`.

    Of them together a cut keeps as many tokens as of that many views of the grid.
    """

    rows: Positive
    columns: Positive
    grid: Annotated[int, Field(ge=0)] = 0

    @property
    def tiles(self) -> int:
        """The number of its tiles."""
        return self.rows * self.columns


class Cut(Record):
    """Names a place where visual tokens are dropped, and the prune stage that chooses them.

    `vision`: right after the vision stage. `input`: before the first decoder layer. `layer`: before decoder layer
    `layer`, counted from 0. With a cut at the vision stage or at the input, `layer` is 0.
    """

    stage: Name
    at: Literal["vision", "input", "layer"]
    layer: Annotated[int, Field(ge=0)]


class Positions(Record):
    """Says how positions are counted: a text token has the largest position so far plus one, on every axis.

    The visual tokens of a view count on likewise (`sequence`, one axis), or have on three axes the time, row and
    column of their place in the grid, each added to the largest position so far plus one (`grid`; time is 0).
    Tokens that stay after a cut keep their positions.
    """

    axes: Literal[1, 3] = 1
    image: Literal["sequence", "grid"] = "sequence"

    @model_validator(mode="after")
    def _grid_has_three_axes(self) -> "Positions":
        if (self.axes == 3) != (self.image == "grid"):
            raise ValueError("positions by grid have three axes, positions in sequence one")
        return self


class Pipeline(Record):
    """Holds the stages, and says how data flows through them.

    `prefill` names the stages in the order in which a prompt runs through them; the unpruned model is the same
    without the stages of role `prune`. `decode` names those that a new token runs through.

    Where there are `mosaics`, a prune stage runs once for all tiles of an image, and once for every other view. The
    numbers by which graphs name what they serve count on from `grids` to `mosaics`.
    """

    grids: Annotated[tuple[Grid, ...], Field(min_length=1)]
    mosaics: tuple[Mosaic, ...] = ()
    cuts: tuple[Cut, ...]
    positions: Positions = Positions()
    stages: dict[Name, Stage]
    prefill: tuple[Name, ...]
    decode: tuple[Name, ...]

    def stage(self, name: str) -> Stage:
        """Returns the stage of that name. Raises `UnknownName`."""
        if name not in self.stages:
            raise UnknownName("stage", name, self.stages)
        return self.stages[name]

    def of_role(self, role: str) -> tuple[str, ...]:
        """Returns the names of the stages of a role, in the order in which a prompt runs through them."""
        return tuple(name for name in self.prefill if self.stages[name].role == role)

    def grid_index(self, height_px: int, width_px: int) -> int:
        """Returns the index of the grid of a view of that size. Raises `BadRequest` if no grid has it."""
        sizes = [(grid.height_px, grid.width_px) for grid in self.grids]
        if (height_px, width_px) not in sizes:
            allowed = ", ".join(f"{height} x {width}" for height, width in sizes)
            raise BadRequest(f"the image becomes {height_px} x {width_px} px; allowed: {allowed}")
        return sizes.index((height_px, width_px))

    def mosaic_index(self, rows: int, columns: int) -> int:
        """Returns the index, behind those of the grids, of the mosaic of so many tiles. Raises `BadRequest`."""
        layouts = [(mosaic.rows, mosaic.columns) for mosaic in self.mosaics]
        if (rows, columns) not in layouts:
            allowed = ", ".join(f"{high} x {wide}" for high, wide in layouts)
            raise BadRequest(f"the image becomes {rows} x {columns} tiles; allowed: {allowed}")
        return len(self.grids) + layouts.index((rows, columns))

    def tokens_of(self, index: int) -> tuple[int, ...]:
        """Returns the visual tokens of a view, or of a mosaic, before the first cut and behind each, by its index."""
        mosaic = self.mosaics[index - len(self.grids)] if index >= len(self.grids) else None
        grid, views = (self.grids[mosaic.grid], mosaic.tiles) if mosaic else (self.grids[index], 1)
        return tuple(views * tokens for tokens in (grid.visual_tokens, *grid.keep))

    def stages_of_prompt(self, *, prune: bool) -> tuple[str, ...]:
        """Names of the stages that a prompt needs, in the order in which it runs through them.

        Unpruned it needs no prune stage. Pruned it needs no vision stage if the first cut stands right behind it and no
        stage reads what it gives: then every row of `features` would be dropped or replaced.
        """
        if not prune:
            return tuple(name for name in self.prefill if self.stages[name].role != "prune")
        [vision] = self.of_role("vision")
        sources = (parse_source(tensor.source).stage for stage in self.stages.values() for tensor in stage.inputs)
        replaced = bool(self.cuts) and self.cuts[0].at == "vision" and vision not in sources
        return tuple(name for name in self.prefill if not (replaced and name == vision))

    @property
    def visual_tokens(self) -> int:
        """N of the first grid."""
        return self.grids[0].visual_tokens

    @property
    def shapes(self) -> int:
        """The number of grids and mosaics, of which a graph may serve a single one."""
        return len(self.grids) + len(self.mosaics)

    @property
    def view_tokens(self) -> tuple[int, ...]:
        """All tokens that a view of each grid has in a prompt."""
        return tuple(grid.view_tokens for grid in self.grids)

    @property
    def keep(self) -> int:
        """K of the first grid, after the last cut."""
        return self.grids[0].kept_tokens

    @property
    def layer(self) -> int:
        """The first decoder layer that sees the pruned sequence only."""
        return self.cuts[-1].layer if self.cuts else 0

    @model_validator(mode="after")
    def _every_stage_has_its_place(self) -> "Pipeline":
        if sorted(self.prefill) != sorted(self.stages):
            raise ValueError("prefill does not name every stage once")
        roles = [self.stages[name].role for name in self.prefill]
        for role in ("vision", "embed"):
            if roles.count(role) != 1:
                raise ValueError(f"one stage has the role {role}; got {roles.count(role)}")
        running = tuple(name for name in self.prefill if self.stages[name].role in ("embed", "decoder"))
        if self.decode != running:
            raise ValueError(f"decode is not {', '.join(running)}")
        if roles[-1] != "decoder" or self.stages[self.prefill[-1]].output("logits") is None:
            raise ValueError("the last stage of prefill is no decoder that gives logits")
        if roles[:2].count("embed") + roles[:2].count("vision") != 2:
            raise ValueError("prefill does not begin with the stages embed and vision")
        return self

    @model_validator(mode="after")
    def _cuts_are_the_prune_stages(self) -> "Pipeline":
        prunes, named = list(self.of_role("prune")), [cut.stage for cut in self.cuts]
        if named != prunes:
            raise ValueError("cuts are not the prune stages in the order of prefill")
        for nth, grid in enumerate(self.grids):
            tokens = (grid.visual_tokens, *grid.keep)
            if len(grid.keep) != len(self.cuts):
                raise ValueError(f"grid {nth} has {len(grid.keep)} numbers in keep for {len(self.cuts)} cuts")
            if any(after > before for before, after in pairwise(tokens)):
                raise ValueError(f"a cut of grid {nth} keeps more tokens than there are")
        return self

    @model_validator(mode="after")
    def _mosaics_are_of_tiles_on_grids(self) -> "Pipeline":
        layouts = [(mosaic.rows, mosaic.columns) for mosaic in self.mosaics]
        if len(set(layouts)) != len(layouts):
            raise ValueError("two mosaics have as many rows and columns")
        if any(mosaic.grid >= len(self.grids) for mosaic in self.mosaics):
            raise ValueError(f"a mosaic is of tiles on a grid that is not there; there are {len(self.grids)}")
        return self

    @model_validator(mode="after")
    def _sources_were_made_before(self) -> "Pipeline":
        available: set[tuple[str, str]] = set()
        for name in self.prefill:
            stage = self.stages[name]
            for tensor in stage.inputs:
                place = parse_source(tensor.source)
                if place.stage not in ("image", "prompt", "sequence") and place[:2] not in available:
                    raise ValueError(
                        f"{name}.{tensor.name} comes from {tensor.source}, which no stage has made by then"
                    )
            available |= {(name, tensor.name) for tensor in stage.outputs}
        for graph in (graph for stage in self.stages.values() for graph in stage.graphs):
            if graph.grid is not None and graph.grid >= self.shapes:
                raise ValueError(f"a graph serves grid {graph.grid}; there are {self.shapes}")
        return self
