"""A question as token ids with room for the visual tokens."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from vlmprune_runtime.bundle import OpenBundle
from vlmprune_runtime.errors import BadRequest, BundleError, first_line
from vlmprune_runtime.schema import MANIFEST, PromptSpec

PLACE = "{prompt}"


class Span(NamedTuple):
    """Places `start` to `stop` - 1 of a prompt, which the visual tokens of one image take."""

    start: int
    stop: int


@dataclass(frozen=True)
class EncodedPrompt:
    """Token ids (S,) and one span per image."""

    token_ids: npt.NDArray[np.int64]
    spans: tuple[Span, ...]


def encode_prompt(tokenizer: Tokenizer, spec: PromptSpec, visual_tokens: int, prompt: str) -> EncodedPrompt:
    """The template with the question in it, tokenized whole, image tokens repeated `visual_tokens` times."""
    text = render(spec, prompt)
    ids = tokenizer.encode(text, add_special_tokens=spec.add_special_tokens).ids
    images = spec.template.count(spec.image_token)
    if ids.count(spec.image_token_id) != images:
        reason = f"the tokenizer does not turn {spec.image_token!r} into this id"
        raise BundleError(MANIFEST, reason, "prompt.image_token_id")
    return spread(np.array(ids, dtype=np.int64), spec.image_token_id, visual_tokens)


def render(spec: PromptSpec, prompt: str) -> str:
    """The whole text with the question put in literally; braces in it mean nothing.

    >>> spec = PromptSpec(template="<image>Q: {prompt}", image_token="<image>", image_token_id=9,
    ...     add_special_tokens=False, stop_token_ids=())
    >>> render(spec, "why {x}?")
    '<image>Q: why {x}?'
    """
    if spec.image_token in prompt:
        raise BadRequest(f"the prompt contains {spec.image_token!r}, which stands for the image")
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise BadRequest("the prompt is not valid Unicode text") from None
    return spec.template.replace(PLACE, prompt)


def spread(token_ids: npt.NDArray[np.int64], image_token_id: int, visual_tokens: int) -> EncodedPrompt:
    """Each image token repeated.

    >>> spread(np.array([5, 9, 6]), 9, 3)
    EncodedPrompt(token_ids=array([5, 9, 9, 9, 6]), spans=(Span(start=1, stop=4),))
    """
    places = np.flatnonzero(token_ids == image_token_id)
    starts = [int(place) + nth * (visual_tokens - 1) for nth, place in enumerate(places)]
    repeats = np.where(token_ids == image_token_id, visual_tokens, 1)
    spans = tuple(Span(start, start + visual_tokens) for start in starts)
    return EncodedPrompt(np.repeat(token_ids, repeats), spans)


def load_tokenizer(bundle: OpenBundle) -> Tokenizer:
    """The bundle's tokenizer, without the padding and truncation that may have been left switched on."""
    name = bundle.manifest.tokenizer
    try:
        tokenizer = Tokenizer.from_file(str(bundle.path(name)))
    except BundleError:
        raise
    except Exception as error:  # tokenizers raises plain Exception
        raise BundleError(name, f"is not a tokenizer: {first_line(error)}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
