"""Answers one question under many pruning configs: vision, embed and head run once, prune and tail once per config."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vlmprune_runtime.engines import Engine, Tensors
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.prefill import Selection, State, decode, keep_rows
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
    The engine's head cache holds the prompt once. Each config goes on from there and overwrites what the config
    before it appended to the prompt.
    """

    model: LoadedModel
    max_tokens: int

    def preprocess(self, image: Image.Image) -> Array:  # -> (1, 3, H, W)
        """Returns the pixels that the vision stage takes."""
        return preprocess(image, self.model.image)

    def encode_image(self, pixels: Array) -> Array:  # (1, 3, H, W) -> (N, D)
        """Returns the visual embeddings of one picture."""
        return self.model.engine.run("vision", {"pixels": pixels})["visual"]

    def predict(self, visual: Array, question: str, configs: Iterable[PruningConfig]) -> dict[str, str]:
        """Returns the prediction under each config, by the config's name."""
        prompt = self.encode_question(question)
        head = run_head(self.model.engine, prompt, visual)
        return {config.name: self.generate(prompt, self.prefill(prompt, head, config)) for config in configs}

    def encode_question(self, question: str) -> EncodedPrompt:
        """Returns the prompt's token ids; raises `BadRequest` if they do not fit into the context."""
        model = self.model
        prompt = encode_prompt(model.tokenizer, model.prompt, model.visual_tokens, question)
        tokens = len(prompt.token_ids)
        if tokens > model.context_tokens:
            raise BadRequest(f"the prompt takes {tokens} tokens with its image, the context has {model.context_tokens}")
        if len(prompt.spans) != 1:
            raise BadRequest(f"the prompt has places for {len(prompt.spans)} images; allowed: one")
        return prompt

    def prefill(self, prompt: EncodedPrompt, head: Tensors, config: PruningConfig) -> State:
        """Runs prune and tail on the head's output; returns the state to decode from."""
        start, stop = prompt.spans[0]
        selections: tuple[Selection, ...] = ()
        if config.select is not None:
            visual = {name: rows[start:stop] for name, rows in head.items()}
            selections = (config.select(visual),)
        rows, positions = keep_rows(head["hidden"], prompt.spans, selections)
        tail = self.model.engine.run("tail", prompt_inputs("hidden", rows, positions))
        total = len(prompt.token_ids)
        return State(tail["logits"], total, len(positions), total, selections)

    def generate(self, prompt: EncodedPrompt, state: State) -> str:
        """Decodes the prediction from a prefilled state."""
        model, token_ids = self.model, list[int]()
        chooser = TokenChooser(GREEDY.applied(model.generation), prompt.token_ids, self.max_tokens)
        token = chooser.choose(state.logits)
        while token not in model.generation.stop_token_ids:
            token_ids.append(token)
            if len(token_ids) >= self.max_tokens or state.head_tokens >= model.context_tokens:
                break
            state = decode(model.engine, token, state)
            token = chooser.choose(state.logits)
        return str(model.tokenizer.decode(token_ids)).strip()


def run_head(engine: Engine, prompt: EncodedPrompt, visual: Array) -> Tensors:
    """Returns the head stage's output for the whole prompt, (S, D) and (S, Dk), with the picture in its place."""
    start, stop = prompt.spans[0]
    token_ids = prompt.token_ids.copy()
    token_ids[start:stop] = 0  # the image token's id may be outside the embedding table
    rows = engine.run("embed", {"token_ids": token_ids})["embeddings"].copy()
    rows[start:stop] = visual
    return engine.run("head", prompt_inputs("embeddings", rows, np.arange(len(token_ids), dtype=np.int64)))


def prompt_inputs(name: str, rows: Array, positions: npt.NDArray[np.int64]) -> Tensors:
    """Returns the inputs of head or tail for a prompt; zero past tokens start a new cache."""
    return {name: rows, "positions": positions, "past_tokens": np.zeros(1, dtype=np.int32)}
