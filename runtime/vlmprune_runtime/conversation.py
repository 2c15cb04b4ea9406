"""Keeps a conversation: what was asked and answered, what the caches hold of it, and what a further question adds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from vlmprune_runtime.detokenize import TextStream
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.image_loading import ImageSource
from vlmprune_runtime.prompt import EncodedPrompt, ImagePlace, expand_ids, render_answer, render_follow_up, tokenize
from vlmprune_runtime.schema import PromptSpec
from vlmprune_runtime.state import State

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FurtherQuestion:
    """Holds a further question of a conversation, and the images that come with it."""

    prompt: str
    images: tuple[ImageSource, ...] = ()


@dataclass(frozen=True)
class Held:
    """Holds the tokens whose rows are in the caches, each image token once, and the state behind them.

    In `token_ids` (S,) each image token stands once per visual token. The last token of an answer is not among them,
    for it is never run.
    """

    ids: list[int]
    token_ids: Indices
    state: State

    def with_token(self, token_id: int, state: State) -> "Held":
        """Returns what the caches hold after one more token."""
        return Held([*self.ids, token_id], np.append(self.token_ids, token_id), state)

    def without_last(self, tokens: int) -> "Held":
        """Returns what is left without so many tokens at the end, whose rows will be overwritten."""
        ids, token_ids = self.ids[: len(self.ids) - tokens], self.token_ids[: len(self.token_ids) - tokens]
        return Held(ids, token_ids, self.state.rewound(tokens))


@dataclass(frozen=True)
class Turn:
    """Holds a first question, or a further question and the tokens that it continues.

    `text` and `ids` are the whole conversation's up to where the answer begins, each image token once, and `images`
    the places of all its images. `prompt` is the part that is not in the caches yet, `behind` what they hold before it.
    """

    text: str
    ids: list[int]
    images: tuple[ImagePlace, ...]
    prompt: EncodedPrompt
    behind: Held | None = None

    @property
    def token_ids(self) -> Indices:
        """All tokens (S,) up to where the answer begins."""
        before = [self.behind.token_ids] if self.behind else []
        return np.concatenate([*before, self.prompt.token_ids])

    @property
    def earlier_images(self) -> int:
        """The number of images that came with the questions before this one."""
        return len(self.images) - len(self.prompt.images)

    def asked(self, state: State, answer: TextStream) -> "Conversation":
        """Returns the conversation after the prefill that gave the state; the answer is still to come."""
        return Conversation(self.text, self.images, Held(self.ids, self.token_ids, state), answer)


@dataclass
class Conversation:
    """Holds the text up to the last answer, that answer as far as it goes, and what the caches hold.

    `held` is replaced as a whole, so that a conversation which is interrupted anywhere can go on.
    """

    text: str
    images: tuple[ImagePlace, ...]
    held: Held
    answer: TextStream

    def go_on(
        self,
        tokenizer: Tokenizer,
        spec: PromptSpec,
        view_tokens: Sequence[int],
        prompt: str,
        images: Sequence[ImagePlace] = (),
    ) -> Turn:
        """Returns a further question about new images.

        The whole conversation is tokenized anew. Its tokens are those of the caches as far as both agree; what is
        behind, such as an answer that the tokenizer writes in another way than the model did, is run again.
        Raises `BadRequest` for a question that has no place in the conversation.
        """
        text = self.text + render_answer(spec, self.answer.text)
        text += render_follow_up(spec, prompt, images)
        ids = tokenize(tokenizer, spec, text)
        same = common_prefix(ids[:-1], self.held.ids)  # the last token is run in any case, for its logits
        views = sum(len(image.grids) for image in self.images)
        if ids[:same].count(spec.image_token_id) < views or spec.image_token in self.answer.text:
            raise BadRequest("the images have other places in the conversation by now; start it anew")
        added = expand_ids(ids[same:], spec, view_tokens, images)
        self.held = self.held.without_last(len(self.held.ids) - same)
        return Turn(text, ids, (*self.images, *images), added, self.held)


def common_prefix(one: list[int], other: list[int]) -> int:
    """Returns how many elements two lists begin with in common.

    >>> common_prefix([1, 2, 3], [1, 2, 4, 5])
    2
    """
    shorter = min(len(one), len(other))
    return next((place for place in range(shorter) if one[place] != other[place]), shorter)
