"""A pruning method at one K in a pipeline of its own, in eager PyTorch: its own cuts, its own stages.

Visual embeddings, and all that methods read of the vision tower, are computed once per image for all of them. A
method that reads no text chooses the same tokens whatever is asked, so its caches hold an image for all questions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import is_
from typing import Any

import numpy.typing as npt
import torch
from PIL import Image

from vlmprune_export.cuts import PruneOptions, mean_of_options
from vlmprune_export.families import Family
from vlmprune_export.pruners.needs import TOWER_TENSORS
from vlmprune_export.pruners.resize import RESIZE, smaller_grid
from vlmprune_export.smaller_images import with_smaller_grid
from vlmprune_export.stage_modules import VisionStage
from vlmprune_export.staged_model import StagedModel
from vlmprune_export.torch_engine import TorchEngine
from vlmprune_runtime.decode import extend_steps
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.prefill import start_prefill
from vlmprune_runtime.prompt import EncodedPrompt
from vlmprune_runtime.question import SeenImage, see
from vlmprune_runtime.schema import Grid, parse_source
from vlmprune_runtime.state import State, final_state
from vlmprune_tools.evaluation.loaded_model import LoadedModel

CLOSE = 0.05  # means that differ by less are compared as equal
Outputs = list[dict[str, npt.NDArray[Any]]]  # of the vision stage, for every view


@dataclass
class SharedVision:
    """Runs the vision stage once per image, and gives all that any of the methods reads of the tower.

    `reads` grows until the first image.
    """

    family: Family
    reads: set[str] = field(default_factory=set)
    _stages: dict[int, VisionStage] = field(default_factory=dict)
    _last: list[tuple[SeenImage, Outputs]] = field(default_factory=list)

    def outputs(self, images: Sequence[SeenImage]) -> Outputs:
        """Returns the outputs for every view of the images, in order."""
        known = [(seen, self._known(seen) or self._run(seen)) for seen in images]
        self._last = known
        return [output for _, outputs in known for output in outputs]

    def _known(self, image: SeenImage) -> Outputs | None:
        return next((outputs for seen, outputs in self._last if seen is image), None)

    @torch.inference_mode()
    def _run(self, image: SeenImage) -> Outputs:
        names = tuple(name for name in TOWER_TENSORS if name in self.reads)
        outputs = list[dict[str, npt.NDArray[Any]]]()
        for view, grid in zip(image.views, image.place.grids, strict=True):
            if grid not in self._stages:
                self._stages[grid] = VisionStage(self.family, grid, names)
            device = next(self.family.layers.parameters()).device
            made = self._stages[grid](torch.from_numpy(view.pixels[None]).to(device))
            outputs.append({name: value.cpu().numpy() for name, value in zip(("features", *names), made, strict=True)})
        return outputs


@dataclass
class MethodPipeline:
    """A method at one K as a model of its own, or the unpruned model where `prune` is False.

    `smaller_images` says that it sees images of its own size, which `vision` then gives the embeddings of.
    """

    model: LoadedModel
    vision: SharedVision
    prune: bool = True
    smaller_images: bool = False
    _made: tuple[Image.Image, SeenImage] | None = None
    _behind: tuple[tuple[Any, ...], bytes, State] | None = None

    @property
    def grid(self) -> Grid:
        """Returns the first grid that the method sees images on."""
        return self.model.pipeline.grids[1 if self.smaller_images else 0]

    @property
    def cuts(self) -> list[str]:
        """Returns the places of the cuts with the tokens that stay at each, as text."""
        pairs = zip(self.model.pipeline.cuts, self.grid.keep, strict=True)
        return [f"{cut.at} {cut.layer}: {keep}" for cut, keep in pairs] if self.prune else []

    @property
    def settings(self) -> dict[str, Any]:
        """Returns every setting of the method, defaults included."""
        return self.model.staged.settings() if self.model.staged and self.prune else {}

    @property
    def reads_text(self) -> bool:
        """Returns whether the choice of tokens depends on text behind the images."""
        pipeline = self.model.pipeline
        sources = (parse_source(tensor.source) for cut in pipeline.cuts for tensor in pipeline.stage(cut.stage).inputs)
        return self.prune and any(
            source.part != "visual" and source.stage not in ("vision", "image") for source in sources
        )

    def see(self, seen: SeenImage, image: Image.Image | None) -> SeenImage:
        """Returns an image as the method sees it, whether that is as the unpruned model does or smaller."""
        if not self.smaller_images:
            return seen
        if image is None:
            raise BadRequest("an image that is only there as the model sees it cannot be made smaller")
        if self._made is None or self._made[0] is not image:
            self._made = (image, see(self.model.pipeline, self.model.image, image))
        return self._made[1]

    def prefill(self, prompt: EncodedPrompt, images: Sequence[SeenImage]) -> State:
        """Returns the state after a prompt about images as the method sees them."""
        end = prompt.spans[-1].stop if prompt.spans else 0
        if self.reads_text or not 0 < end < len(prompt.token_ids):
            return self._run(prompt, images)
        state = self._behind_images(replace(prompt, token_ids=prompt.token_ids[:end]), images)
        model = self.model
        return final_state(extend_steps(model.pipeline, model.engine, prompt.token_ids[end:], state))

    def _behind_images(self, beginning: EncodedPrompt, images: Sequence[SeenImage]) -> State:
        """Returns the state after the images, which the caches may hold from the question before."""
        ids = beginning.token_ids.tobytes()
        if self._behind is not None:
            seen, before, state = self._behind
            if before == ids and len(seen) == len(images) and all(map(is_, seen, images)):
                return state
        state = self._run(beginning, images)
        self._behind = (tuple(images), ids, state)
        return state

    def _run(self, prompt: EncodedPrompt, images: Sequence[SeenImage]) -> State:
        self._behind = None  # what the caches hold is overwritten
        pixels = [view.pixels[None] for image in images for view in image.views]
        run = start_prefill(self.model.pipeline, self.model.engine, prompt, pixels)
        run.set_vision(self.vision.outputs(images))
        for name in self.model.pipeline.stages_of_prompt(prune=self.prune):
            if name not in run.outputs:
                for _ in run.run(name):
                    pass
        return run.state()


def unpruned_pipeline(model: LoadedModel, vision: SharedVision) -> MethodPipeline:
    """Returns the unpruned model with caches of its own."""
    return MethodPipeline(_with_engine(model, model.staged), vision, prune=False)


def method_pipeline(model: LoadedModel, options: PruneOptions, vision: SharedVision) -> MethodPipeline:
    """Returns a method on a checkpoint. Raises `BadRequest` for options that do not fit the model."""
    family = family_of(model)
    if options.method != RESIZE:
        made = MethodPipeline(_with_engine(model, StagedModel(family, options)), vision)
        [stage] = made.model.pipeline.of_role("vision")
        vision.reads |= {tensor.name for tensor in made.model.pipeline.stage(stage).outputs} - {"features"}
        return made
    smaller, image = with_smaller_grid(family, options, model.image)
    own = replace(_with_engine(model, StagedModel(smaller, options)), image=image)
    return MethodPipeline(own, SharedVision(smaller), smaller_images=True)


def family_of(model: LoadedModel) -> Family:
    """Returns the model behind the stages. Raises `BadRequest` for a bundle."""
    if model.staged is None:
        raise BadRequest("a bundle's cuts are in its graphs; allowed: a checkpoint")
    return model.staged.family


def _with_engine(model: LoadedModel, staged: StagedModel | None) -> LoadedModel:
    assert staged is not None and isinstance(model.engine, TorchEngine)
    engine = TorchEngine(staged, model.engine.device)
    return replace(model, staged=staged, pipeline=staged.pipeline, engine=engine)


def equal_mean_keep(family: Family, options: PruneOptions, keep: int, mean: float) -> int:
    """Returns the K at which a method has that mean number of visual tokens over all decoder layers, or nearly so.

    Where no K of at least an eighth of `keep` gives it, `keep` stays.
    """
    means = dict(_means(family, options, range(max(1, keep // 8), family.grids[0].tokens)))
    nearest = min(means, key=lambda own: (abs(means[own] - mean), own), default=keep)
    return nearest if means and (nearest > min(means) or abs(means[nearest] / mean - 1) < CLOSE) else keep


def _means(family: Family, options: PruneOptions, keeps: Iterable[int]) -> Iterable[tuple[int, float]]:
    for keep in keeps:
        try:
            yield keep, mean_of_keep(family, replace(options, keep=keep))
        except BadRequest:
            continue


def mean_of_keep(family: Family, options: PruneOptions) -> float:
    """Returns the mean number of visual tokens over all decoder layers of an image on the first grid."""
    if options.method == RESIZE:
        own = family.grids[0]
        height, width = smaller_grid((own.height, own.width), options.keep_of(own.tokens))
        return float(height * width)
    return mean_of_options(family, options)


def keeps_of_family(family: Family, keep: int) -> Mapping[int, int]:
    """Returns how many tokens stay of a view of so many: the same share as `keep` of the first grid, one at least."""
    first = family.grids[0].tokens
    return {grid.tokens: max(1, round(keep * grid.tokens / first)) for grid in family.grids}
