"""One question, answered in many ways: vision, embed and head run once, prune and tail once for each way."""

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
from vlmprune_runtime.sampling import GREEDY, choose
from vlmprune_tools.evaluation.subject import Subject
from vlmprune_tools.evaluation.ways import Way

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Asker:
    """Answers as the runtime generates: greedy, up to a stop token or `max_tokens`, text without white space around.

    The engine's head cache holds the prompt once; each way goes on from there, and overwrites what the way before
    it has put behind the prompt.
    """

    subject: Subject
    max_tokens: int

    def pixels(self, image: Image.Image) -> Array:  # -> (1, 3, H, W)
        """The picture as the vision stage takes it."""
        return preprocess(image, self.subject.image)

    def visual(self, pixels: Array) -> Array:  # (1, 3, H, W) -> (N, D)
        """Visual embeddings of one picture."""
        return self.subject.engine.run("vision", {"pixels": pixels})["visual"]

    def answers(self, visual: Array, question: str, ways: Iterable[Way]) -> dict[str, str]:
        """What is said in each way, by the way's name."""
        prompt = self.encode(question)
        head = run_head(self.subject.engine, prompt, visual)
        return {way.name: self.generate(self.prefilled(prompt, head, way)) for way in ways}

    def encode(self, question: str) -> EncodedPrompt:
        """The question as token ids; `BadRequest` if it does not fit."""
        subject = self.subject
        prompt = encode_prompt(subject.tokenizer, subject.prompt, subject.visual_tokens, question)
        tokens, room = len(prompt.token_ids), subject.context_tokens
        if tokens > room:
            raise BadRequest(f"the prompt takes {tokens} tokens with its image, the context has {room}")
        if len(prompt.spans) != 1:
            raise BadRequest(f"the prompt has places for {len(prompt.spans)} images; allowed: one")
        return prompt

    def prefilled(self, prompt: EncodedPrompt, head: Tensors, way: Way) -> State:
        """The state after prune and tail."""
        start, stop = prompt.spans[0]
        selections: tuple[Selection, ...] = ()
        if way.pick is not None:
            visual = {name: rows[start:stop] for name, rows in head.items()}
            selections = (way.pick(visual),)
        rows, places = keep_rows(head["hidden"], prompt.spans, selections)
        tail = self.subject.engine.run("tail", step_inputs("hidden", rows, places))
        total = len(prompt.token_ids)
        return State(tail["logits"], total, len(places), total, selections)

    def generate(self, state: State) -> str:
        """The answer from there on."""
        subject, dice, said = self.subject, np.random.default_rng(0), list[int]()
        token = choose(state.logits, GREEDY, dice)
        while token not in subject.prompt.stop_token_ids:
            said.append(token)
            if len(said) >= self.max_tokens or state.head_tokens >= subject.context_tokens:
                break
            state = decode(subject.engine, token, state)
            token = choose(state.logits, GREEDY, dice)
        return str(subject.tokenizer.decode(said)).strip()


def run_head(engine: Engine, prompt: EncodedPrompt, visual: Array) -> Tensors:
    """Output of the head stage for the whole prompt, (S, D) and (S, Dk), with the picture in its place."""
    start, stop = prompt.spans[0]
    token_ids = prompt.token_ids.copy()
    token_ids[start:stop] = 0  # the image token's id may be outside the embedding table
    rows = engine.run("embed", {"token_ids": token_ids})["embeddings"].copy()
    rows[start:stop] = visual
    return engine.run("head", step_inputs("embeddings", rows, np.arange(len(token_ids), dtype=np.int64)))


def step_inputs(name: str, rows: Array, positions: npt.NDArray[np.int64]) -> Tensors:
    """Inputs of head or tail for a prompt, which starts the cache anew."""
    return {name: rows, "positions": positions, "past_tokens": np.zeros(1, dtype=np.int32)}
