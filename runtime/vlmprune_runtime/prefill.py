"""Runs a prompt through the stages in the order of the manifest, on any engine.

The manifest names the source of each input, so this module knows no stage's inputs by name.
"""

import copy
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from vlmprune_runtime.engines import Engine, Tensors
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.events import StageTimed, ms_since
from vlmprune_runtime.positions import PruneGroup, Tokens, place_prompt
from vlmprune_runtime.prompt import EncodedPrompt, Span
from vlmprune_runtime.schema import Pipeline
from vlmprune_runtime.selection import Selection, check_kept, counted
from vlmprune_runtime.sources import Array, Indices, read_source
from vlmprune_runtime.state import State, final_state

Steps = Generator[StageTimed, None, None]

NO_VIEWS = PruneGroup((), 0)
"""What a stage that runs on the sequence runs for."""


@dataclass
class Prefill:
    """Carries a sequence through the stages: the outputs of the stages so far, and the tokens that are left."""

    pipeline: Pipeline
    engine: Engine
    tokens: Tokens
    views: Sequence[Array] = ()  # pixels of each view, (1, 3, H, W)
    spans: Sequence[Span] = ()  # where each view's features go
    past_tokens: dict[str, int] = field(default_factory=dict)
    rows: Array | None = None  # (S, D) of the tokens that are left
    outputs: dict[str, Any] = field(default_factory=dict)  # of each stage, or of each stage and view
    stage_tokens: dict[str, Tokens] = field(default_factory=dict)  # the sequence that a stage ran on
    features_placed: bool = False
    selections: tuple[Selection, ...] = ()
    earlier_views: int = 0  # of the sequence that the caches hold already

    def fork(self) -> "Prefill":
        """Returns a copy that goes on from here on its own; the engine's caches are shared."""
        other = copy.copy(self)
        for name in ("outputs", "stage_tokens", "past_tokens"):
            setattr(other, name, dict(getattr(self, name)))
        return other

    def run(self, name: str) -> Steps:
        """Runs one stage, and yields the time of each of its calls."""
        role = self.pipeline.stage(name).role
        if role in ("vision", "prune"):
            yield from self._run_views(name)
        else:
            self.stage_tokens[name] = self.tokens
            self.outputs[name] = yield from self._timed(name, self._inputs(name, NO_VIEWS), 0)
        if role == "embed":
            self.rows = self.outputs[name]["embeddings"]
        elif role == "decoder":
            self.past_tokens[name] = self.past_tokens.get(name, 0) + len(self.tokens.view)
            self.rows = self.outputs[name].get("hidden")
        self._place_features()

    def set_vision(self, outputs: Sequence[Tensors]) -> None:
        """Sets all that the vision stage gives for each view, in place of running it."""
        [vision] = self.pipeline.of_role("vision")
        self.outputs[vision] = list(outputs)
        self._place_features()

    def prune(self, name: str, group: PruneGroup, outputs: Tensors) -> None:
        """Drops the tokens of views that a cut did not keep, and replaces the rows of the others."""
        places, pruned = np.flatnonzero(np.isin(self.tokens.view, group.views)), counted(name, outputs)
        kept = pruned["kept"].astype(np.int64)
        check_kept(name, kept, len(places))
        assert self.rows is not None
        remaining = np.ones(len(self.rows), dtype=bool)
        remaining[places] = False
        remaining[places[kept]] = True
        rows = self.rows.copy()
        rows[places[kept]] = pruned["fused"]
        self.selections = (*self.selections, *self._selections(name, group, places, pruned))
        self.rows, self.tokens = rows[remaining], self.tokens.select(remaining)

    def _selections(self, name: str, group: PruneGroup, places: Indices, pruned: Tensors) -> Iterator[Selection]:
        """Yields what is kept of each view of a group, whose tokens stand at `places` before the cut."""
        kept, fused, rank = pruned["kept"].astype(np.int64), pruned["fused"], pruned["rank"].astype(np.int64)
        views, start = self.tokens.view[places], 0
        for view in group.views:
            mine = views[kept] == view
            cells = self.tokens.cell[places[kept[mine]]]
            yield Selection(kept[mine] - start, fused[mine], rank[mine], cells, self.earlier_views + view, name)
            start += int((views == view).sum())

    def state(self) -> State:
        """Returns the state after the last stage."""
        logits = self.outputs[self.pipeline.prefill[-1]]["logits"]
        views = self.earlier_views + len(self.views)
        return State(logits, dict(self.past_tokens), self.tokens.next_position, self.selections, views)

    def run_all(self, *, prune: bool = True) -> Generator[StageTimed, None, State]:
        """Runs all stages, yields each one's time as it has run, and returns the state after the last."""
        for name in self.pipeline.stages_of_prompt(prune=prune):
            yield from self.run(name)
        return self.state()

    def _run_views(self, name: str) -> Steps:
        """Runs a stage once per view, or per group of views; all inputs are read before any view is pruned."""
        prunes = self.pipeline.stage(name).role == "prune"
        every_view = (PruneGroup((view,), grid) for view, grid in enumerate(self.tokens.grids))
        groups = self.tokens.groups if prunes else tuple(every_view)
        inputs = [self._inputs(name, group) for group in groups]
        outputs = []
        for group, tensors in zip(groups, inputs, strict=True):
            outputs.append((yield from self._timed(name, tensors, group.grid)))
        self.outputs[name] = outputs
        if prunes:
            for group, pruned in zip(groups, outputs, strict=True):
                self.prune(name, group, pruned)

    def _place_features(self) -> None:
        """Inserts the visual embeddings into the text embeddings once both stages have run."""
        [vision], [embed] = self.pipeline.of_role("vision"), self.pipeline.of_role("embed")
        if self.features_placed or self.rows is None or not {vision, embed} <= self.outputs.keys():
            return
        rows = self.rows.copy()  # the outputs of embed stay as they are, and a fork has them too
        for span, output in zip(self.spans, self.outputs[vision], strict=True):
            rows[span.start : span.stop] = output["features"]
        self.rows, self.features_placed = rows, True

    def _timed(self, name: str, inputs: Tensors, grid: int) -> Generator[StageTimed, None, Tensors]:
        start = perf_counter()
        several = {"grid": grid} if self.pipeline.shapes > 1 else {}
        outputs = self.engine.run(name, inputs, **several)
        yield StageTimed(name, ms_since(start))
        return outputs

    def _inputs(self, name: str, group: PruneGroup) -> Tensors:
        inputs = self.pipeline.stage(name).inputs
        return {tensor.name: read_source(self, tensor.source, name, group) for tensor in inputs}


def start_prefill(
    pipeline: Pipeline, engine: Engine, prompt: EncodedPrompt, views: Sequence[Array], behind: State | None = None
) -> Prefill:
    """Returns a prompt before the first stage, or a part of one that goes on `behind` what the caches hold.

    Raises `BadRequest` if it has another number of places for views.
    """
    if len(views) != len(prompt.spans):
        raise BadRequest(f"got {len(views)} images, the prompt has places for {len(prompt.spans)}")
    if behind is None:
        return Prefill(pipeline, engine, place_prompt(pipeline, prompt), views, prompt.spans)
    tokens = place_prompt(pipeline, prompt, behind.next_position)
    run = Prefill(pipeline, engine, tokens, views, prompt.spans, dict(behind.past_tokens))
    run.selections, run.earlier_views = behind.selections, behind.views
    return run


def prefill_steps(
    pipeline: Pipeline, engine: Engine, prompt: EncodedPrompt, views: Sequence[Array], *, prune: bool = True
) -> Generator[StageTimed, None, State]:
    """Runs a whole prompt, yields each stage's time as it has run, and returns the state; one view per span."""
    return start_prefill(pipeline, engine, prompt, views).run_all(prune=prune)


def prefill(
    pipeline: Pipeline, engine: Engine, prompt: EncodedPrompt, views: Sequence[Array], *, prune: bool = True
) -> State:
    """Returns the state after the whole prompt; one view (1, 3, H, W) per span of the prompt."""
    return final_state(prefill_steps(pipeline, engine, prompt, views, prune=prune))


def select(pipeline: Pipeline, engine: Engine, prompt: EncodedPrompt, views: Sequence[Array]) -> tuple[Selection, ...]:
    """Returns what the cuts keep of each view: prefill as far as the last prune stage."""
    run = start_prefill(pipeline, engine, prompt, views)
    for name in stages_before_tail(pipeline):
        for _ in run.run(name):
            pass
    return run.selections


def stages_before_tail(pipeline: Pipeline) -> tuple[str, ...]:
    """Returns the stages up to the last cut, in the order in which a prompt runs through them."""
    last = max((pipeline.prefill.index(cut.stage) for cut in pipeline.cuts), default=-1)
    return pipeline.prefill[: last + 1]
