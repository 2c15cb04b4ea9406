"""What was said so far, what the caches hold of it, and what a further question adds to them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from vlmprune_runtime.detokenize import TextStream
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.prefill import State
from vlmprune_runtime.prompt import EncodedPrompt, expand_ids, render_answer, render_follow_up, tokenize
from vlmprune_runtime.schema import PromptSpec

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Turn:
    """A first question, or a further one with what it goes on behind.

    `text` and `ids` are the whole conversation's up to where the answer begins, each image token once. `prompt` is the
    part of it that is not in the caches yet, and `before` (S,) are the tokens in the caches, in which each image token
    stands once per visual token; `behind` is the state that the part goes on from, None for a first question. `images`
    counts those of the whole conversation.
    """

    text: str
    ids: list[int]
    prompt: EncodedPrompt
    before: Indices
    images: int
    behind: State | None = None

    @property
    def token_ids(self) -> Indices:
        """All tokens (S,) up to where the answer begins."""
        return np.concatenate([self.before, self.prompt.token_ids])

    def asked(self, state: State, answer: TextStream) -> "Conversation":
        """Returns the conversation after the prefill that gave the state; the answer is still to come."""
        return Conversation(self.text, list(self.ids), self.token_ids, self.images, state, answer)


@dataclass
class Conversation:
    """What was said up to where the last answer begins (`text`), that answer as far as it goes, and the caches' state.

    `ids` are the tokens whose rows the caches hold, each image token once, and `token_ids` (S,) the same with each
    image token once per visual token. The last token of an answer is not among them, for it is never run.
    """

    text: str
    ids: list[int]
    token_ids: Indices
    images: int
    state: State
    answer: TextStream

    def add(self, token_id: int, state: State) -> None:
        """Takes the state after one more token of the answer."""
        self.ids.append(token_id)
        self.token_ids = np.append(self.token_ids, token_id)
        self.state = state

    def drop(self, tokens: int) -> None:
        """Forgets so many tokens at the end, whose rows in the caches will be overwritten."""
        self.state = self.state.rewound(tokens)
        self.ids = self.ids[: len(self.ids) - tokens]
        self.token_ids = self.token_ids[: len(self.token_ids) - tokens]

    def go_on(self, tokenizer: Tokenizer, spec: PromptSpec, visual_tokens: int, prompt: str, images: int = 0) -> Turn:
        """Returns a further question about so many new pictures.

        The whole conversation is tokenized anew. Its tokens are those of the caches as far as both agree; what is
        behind, such as an answer that the tokenizer writes in another way than the model did, is run again.
        Raises `BadRequest` for a question that has no place in the conversation.
        """
        text = self.text + render_answer(spec, self.answer.text)
        text += render_follow_up(spec, prompt, images=images)
        ids = tokenize(tokenizer, spec, text)
        same = common_prefix(ids[:-1], self.ids)  # the last token is run in any case, for its logits
        if ids[:same].count(spec.image_token_id) < self.images or spec.image_token in self.answer.text:
            raise BadRequest("the pictures have other places in the conversation by now; start it anew")
        added = expand_ids(ids[same:], spec, images, visual_tokens)
        self.drop(len(self.ids) - same)
        return Turn(text, ids, added, self.token_ids, self.images + images, self.state)


def common_prefix(one: list[int], other: list[int]) -> int:
    """Returns how many elements two lists begin with in common.

    >>> common_prefix([1, 2, 3], [1, 2, 4, 5])
    2
    """
    shorter = min(len(one), len(other))
    return next((place for place in range(shorter) if one[place] != other[place]), shorter)
