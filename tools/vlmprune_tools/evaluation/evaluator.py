"""Answers one question under many pruning configs: vision, embed and head run once, prune and tail once per config."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from typing import Any

import numpy.typing as npt
from PIL import Image

from vlmprune_runtime.decode import decode
from vlmprune_runtime.engines import Tensors
from vlmprune_runtime.prefill import Prefill, start_prefill
from vlmprune_runtime.prompt import EncodedPrompt, ImagePlace, check_room, encode_prompt
from vlmprune_runtime.question import SeenImage, see
from vlmprune_runtime.sampling import GREEDY, TokenChooser
from vlmprune_runtime.state import State
from vlmprune_tools.evaluation.loaded_model import LoadedModel
from vlmprune_tools.evaluation.method_pipeline import MethodPipeline
from vlmprune_tools.evaluation.pruning_config import PruningConfig

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Prediction:
    """What a model says about images; `kept` has for each cut how many visual tokens of a view stay, on average."""

    text: str
    kept: tuple[float, ...] = ()


@dataclass(frozen=True)
class EncodedImage:
    """An image as a model sees it. The vision stage runs when its outputs are asked for, and once.

    `image` is the image itself, for methods that see it in another size; None where there is none.
    """

    model: LoadedModel
    seen: SeenImage
    image: Image.Image | None = None

    @property
    def pixels(self) -> list[Array]:
        """The pixels (1, 3, height, width) of every view."""
        return [view.pixels[None] for view in self.seen.views]

    @cached_property
    def vision(self) -> tuple[Tensors, ...]:
        """What the vision stage gives of every view: the visual embeddings (N, D), and what a pruner reads beside."""
        pipeline, outputs = self.model.pipeline, list[Tensors]()
        [vision] = pipeline.of_role("vision")
        [tensor] = pipeline.stage(vision).inputs
        for pixels, grid in zip(self.pixels, self.seen.place.grids, strict=True):
            several = {"grid": grid} if len(pipeline.grids) > 1 else {}
            outputs.append(self.model.engine.run(vision, {tensor.name: pixels}, **several))
        return tuple(outputs)


@dataclass(frozen=True)
class Evaluator:
    """Generates as the runtime does without drawing, by the model's own generation settings.

    A prediction ends at a stop token or after `max_tokens`; surrounding white space is removed.
    The stages before the first cut run once, and so their caches hold the prompt once. Each config goes on from there
    and overwrites what the config before it appended to the prompt.
    """

    model: LoadedModel
    max_tokens: int

    def see(self, image: Image.Image) -> SeenImage:
        """Returns an image as the model sees it: its views, and the place that they take in a prompt."""
        return see(self.model.pipeline, self.model.image, image)

    def encode_image(self, image: Image.Image) -> EncodedImage:
        """Returns an image with its visual embeddings, which all questions about it share."""
        return EncodedImage(self.model, self.see(image), image)

    def encode_seen(self, seen: SeenImage) -> EncodedImage:
        """Returns the same of an image that is there only as the model sees it."""
        return EncodedImage(self.model, seen)

    def predict(
        self, images: Sequence[EncodedImage], question: str, configs: Iterable[PruningConfig]
    ) -> dict[str, Prediction]:
        """Returns the prediction about images under each config, by the config's name."""
        chosen = list(configs)
        shared = [config for config in chosen if config.pipeline is None]
        predictions = self.predict_shared(images, question, shared) if shared else {}
        for config in chosen:
            if config.pipeline is not None:
                own = replace(self, model=config.pipeline.model)
                predictions[config.name] = own.predict_in_pipeline(images, question, config.pipeline)
        return predictions

    def predict_shared(
        self, images: Sequence[EncodedImage], question: str, configs: Iterable[PruningConfig]
    ) -> dict[str, Prediction]:
        """Returns the predictions under configs that share this model's stages before the cut."""
        prompt = self.encode_question(question, [image.seen.place for image in images])
        run = self.start(prompt, images)
        return {config.name: self.generate(prompt, self.prefill(run.fork(), config)) for config in configs}

    def predict_in_pipeline(
        self, images: Sequence[EncodedImage], question: str, pipeline: MethodPipeline
    ) -> Prediction:
        """Returns the prediction of a method whose own model this is."""
        seen = [pipeline.see(image.seen, image.image) for image in images]
        prompt = self.encode_question(question, [image.place for image in seen])
        return self.generate(prompt, pipeline.prefill(prompt, seen))

    def start(self, prompt: EncodedPrompt, images: Sequence[EncodedImage]) -> Prefill:
        """Runs all stages before the first cut."""
        pipeline = self.model.pipeline
        pixels = [view for image in images for view in image.pixels]
        run = start_prefill(pipeline, self.model.engine, prompt, pixels)
        run.set_vision([outputs for image in images for outputs in image.vision])
        for name in takewhile(lambda stage: pipeline.stage(stage).role != "prune", pipeline.prefill):
            _run(run, name)
        return run

    def encode_question(self, question: str, places: Sequence[ImagePlace]) -> EncodedPrompt:
        """Returns the prompt's token ids; raises `BadRequest` if they or the images do not fit into the context."""
        model = self.model
        prompt = encode_prompt(model.tokenizer, model.prompt, model.pipeline.view_tokens, question, places)
        check_room(prompt, model.context_tokens)
        return prompt

    def prefill(self, run: Prefill, config: PruningConfig) -> State:
        """Prunes as the config says and runs the remaining stages; returns the state to decode from."""
        if config.prune is not None:
            config.prune(run)
        for name in run.pipeline.prefill:
            if run.pipeline.stage(name).role != "prune":
                _run(run, name)
        return run.state()

    def generate(self, prompt: EncodedPrompt, state: State) -> Prediction:
        """Decodes the prediction from a prefilled state."""
        model, token_ids, kept = self.model, list[int](), kept_at_cuts(state)
        chooser = TokenChooser(GREEDY.applied(model.generation), prompt.token_ids, self.max_tokens)
        token = chooser.choose(state.logits)
        while token not in model.generation.stop_token_ids:
            token_ids.append(token)
            if len(token_ids) >= self.max_tokens or state.fills(model.context_tokens):
                break
            state = decode(model.pipeline, model.engine, token, state)
            token = chooser.choose(state.logits)
        return Prediction(str(model.tokenizer.decode(token_ids)).strip(), kept)


def kept_at_cuts(state: State) -> tuple[float, ...]:
    """Returns how many visual tokens of a view stay at each cut, as the mean over views."""
    cuts = dict.fromkeys(selection.cut for selection in state.selections)
    return tuple(
        sum(len(selection.kept) for selection in state.selections if selection.cut == cut) / state.views for cut in cuts
    )


def _run(run: Prefill, name: str) -> None:
    """Runs a stage unless it has run."""
    if name not in run.outputs:
        for _ in run.run(name):
            pass
