"""Answers one question under many pruning configs: vision, embed and head run once, prune and tail once per config."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy.typing as npt
from PIL import Image

from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.prefill import Prefill, State, decode, start_prefill
from vlmprune_runtime.preprocess import preprocess
from vlmprune_runtime.prompt import EncodedPrompt, encode_prompt
from vlmprune_runtime.sampling import GREEDY, TokenChooser
from vlmprune_tools.evaluation.loaded_model import LoadedModel
from vlmprune_tools.evaluation.pruning_config import PruningConfig

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Evaluator:
    """Generates as the runtime does without drawing, by the model's own generation settings.

    A prediction ends at a stop token or after `max_tokens`; surrounding white space is removed.
    The stages before the first cut run once, and so their caches hold the prompt once. Each config goes on from there
    and overwrites what the config before it appended to the prompt.
    """

    model: LoadedModel
    max_tokens: int

    def preprocess(self, image: Image.Image) -> Array:  # -> (1, 3, H, W)
        """Returns the pixels that the vision stage takes."""
        return preprocess(image, self.model.image)

    def encode_image(self, pixels: Array) -> Array:  # (1, 3, H, W) -> (N, D)
        """Returns the visual embeddings of one picture."""
        [vision] = self.model.pipeline.of_role("vision")
        [pixels_input] = self.model.pipeline.stage(vision).inputs
        return self.model.engine.run(vision, {pixels_input.name: pixels})["features"]

    def predict(self, visual: Array, question: str, configs: Iterable[PruningConfig]) -> dict[str, str]:
        """Returns the prediction under each config, by the config's name."""
        prompt = self.encode_question(question)
        run = self.start(prompt, visual)
        return {config.name: self.generate(prompt, self.prefill(run.fork(), config)) for config in configs}

    def start(self, prompt: EncodedPrompt, visual: Array) -> Prefill:
        """Runs all stages before the first cut, with the visual embeddings of the picture given."""
        pipeline = self.model.pipeline
        run = start_prefill(pipeline, self.model.engine, prompt, [visual])
        run.set_features([visual])
        for name in takewhile(lambda stage: pipeline.stage(stage).role != "prune", pipeline.prefill):
            _run(run, name)
        return run

    def encode_question(self, question: str) -> EncodedPrompt:
        """Returns the prompt's token ids; raises `BadRequest` if they do not fit into the context."""
        model = self.model
        prompt = encode_prompt(model.tokenizer, model.prompt, model.pipeline.view_tokens, question)
        tokens = len(prompt.token_ids)
        if tokens > model.context_tokens:
            raise BadRequest(f"the prompt takes {tokens} tokens with its image, the context has {model.context_tokens}")
        if len(prompt.spans) != 1:
            raise BadRequest(f"the prompt has places for {len(prompt.spans)} images; allowed: one")
        return prompt

    def prefill(self, run: Prefill, config: PruningConfig) -> State:
        """Prunes as the config says and runs the remaining stages; returns the state to decode from."""
        if config.prune is not None:
            config.prune(run)
        for name in run.pipeline.prefill:
            if run.pipeline.stage(name).role != "prune":
                _run(run, name)
        return run.state()

    def generate(self, prompt: EncodedPrompt, state: State) -> str:
        """Decodes the prediction from a prefilled state."""
        model, token_ids = self.model, list[int]()
        chooser = TokenChooser(GREEDY.applied(model.generation), prompt.token_ids, self.max_tokens)
        token = chooser.choose(state.logits)
        while token not in model.generation.stop_token_ids:
            token_ids.append(token)
            if len(token_ids) >= self.max_tokens or state.fills(model.context_tokens):
                break
            state = decode(model.pipeline, model.engine, token, state)
            token = chooser.choose(state.logits)
        return str(model.tokenizer.decode(token_ids)).strip()


def _run(run: Prefill, name: str) -> None:
    """Runs a stage unless it has run."""
    if name not in run.outputs:
        for _ in run.run(name):
            pass
