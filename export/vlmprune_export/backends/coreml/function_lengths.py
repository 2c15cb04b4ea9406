"""Computes the lengths of a package's functions, which Core ML must know in advance."""

from collections.abc import Sequence, Set
from typing import NamedTuple

from vlmprune_export.staged_model import ImageLength, StagedModel
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.schema import Pipeline
from vlmprune_runtime.schema.stage import Phase

DEFAULT_TEXT_TOKENS = (64, 256)
"""Text tokens around an image that a prefill has room for; what is shorter is padded."""


class Function(NamedTuple):
    """One function of a package: its name, what it is for, and its fixed numbers of tokens, None where it has none.

    `grid` is the index of the only grid that it serves, None for all.
    """

    name: str
    phase: Phase
    tokens: int | None = None
    text_tokens: int | None = None
    grid: int | None = None


DECODE = Function("decode", "decode", 1)
BEHIND = Function("decode_32", "decode", 32)
"""A part of a further question, which goes on behind what the caches hold; longer ones take several calls."""
MAIN = Function("main", "any")


def text_lengths(requested: str | None, visual_tokens: int, context_tokens: int) -> tuple[int, ...]:
    """Returns text lengths from `64,256`, ascending, none longer than the context leaves room for.

    >>> text_lengths("256,64", 576, 1024), text_lengths(None, 49, 96)
    ((64, 256), (47,))
    """
    room = context_tokens - visual_tokens
    lengths = DEFAULT_TEXT_TOKENS if requested is None else _whole_numbers(requested)
    return tuple(sorted({min(length, room) for length in lengths}))


class PromptLength(NamedTuple):
    """A length of prompts that prefills have room for: the end of their names, all images together, other text."""

    suffix: str
    images: ImageLength
    text_tokens: int

    def function(self, prefix: str, view_tokens: int) -> Function:
        """Returns the prefill of this length, with so many tokens for each view.

        >>> PromptLength("_256", ImageLength(2, 3), 256).function("prefill", 16)
        Function(name='prefill_256', phase='prefill', tokens=291, text_tokens=None, grid=None)
        """
        tokens = self.images.tokens(view_tokens) + self.text_tokens
        return Function(prefix + self.suffix, "prefill", tokens)

    def prune_function(self, free: Set[str], view_tokens: int) -> Function:
        """Returns the function of a pruner that reads text or the whole sequence, as its `free` dimensions say."""
        whole = self.function("main", view_tokens)
        return whole._replace(
            tokens=whole.tokens if "tokens" in free else None,
            text_tokens=self.images.text_tokens + self.text_tokens if "text_tokens" in free else None,
        )


def prompt_lengths(staged: StagedModel, text_tokens: str | None, context_tokens: int) -> tuple[PromptLength, ...]:
    """Returns a length for each number of views of one image, and one for each larger number of the longest image.

    One image of the longest has all lengths of text, shorter ones have the shortest, several images the longest.
    """
    longest, view_tokens = staged.image_lengths[-1], max(staged.pipeline.view_tokens)
    texts = text_lengths(text_tokens, longest.tokens(view_tokens), context_tokens)
    lengths = list[PromptLength]()
    for nth, image in enumerate(staged.image_lengths):
        suffix = f"_{image.views}_views" if nth else ""
        lengths += _of_texts(suffix, image, texts if image is longest else texts[:1])
    for count in range(2, staged.images + 1):
        images = ImageLength(count * longest.views, count * longest.text_tokens)
        text = text_lengths(text_tokens, images.tokens(view_tokens), context_tokens)[-1]
        lengths.append(PromptLength(f"_{count}_images", images, text))
    return tuple(lengths)


def _of_texts(suffix: str, image: ImageLength, texts: Sequence[int]) -> list[PromptLength]:
    """Returns an image's lengths, the shortest without a number in its name."""
    ends = ("", *(f"_{text}" for text in texts[1:]))
    return [PromptLength(suffix + end, image, text) for end, text in zip(ends, texts, strict=True)]


def functions_of(pipeline: Pipeline, name: str, lengths: Sequence[PromptLength]) -> tuple[Function, ...]:
    """Returns the functions of a stage; the first is the package's default.

    A stage behind a cut has prefills for the pruned sequence and for the full one. With several grids prefills have
    room for the largest one, and a stage that runs per view has functions for each. Without any cut a pruned prompt has
    a smaller image, for which every stage of the sequence has prefills.
    """
    role, largest = pipeline.stage(name).role, max(pipeline.view_tokens)
    if role in ("vision", "prune"):
        free = {size for tensor in pipeline.stage(name).inputs for size in tensor.shape if isinstance(size, str)}
        alike = tuple(length.prune_function(free, largest) for length in lengths) if free else (MAIN,)
        shapes = pipeline.shapes if role == "prune" else len(pipeline.grids)
        return functions_of_grids([alike] * shapes) if shapes > 1 else alike
    fewer = _pruned_rows(pipeline, name)
    modes = {"prefill": largest} if fewer == largest else {"prefill_pruned": fewer, "prefill_full": largest}
    prefills = (length.function(prefix, tokens) for prefix, tokens in modes.items() for length in lengths)
    return (*prefills, DECODE, *((BEHIND,) if role == "decoder" else ()))


def _pruned_rows(pipeline: Pipeline, name: str) -> int:
    """Returns how many tokens a stage of the sequence sees of a view in the pruned mode, at most."""
    if not pipeline.cuts:
        return min(pipeline.view_tokens)
    before = sum(cut.stage in pipeline.prefill[: pipeline.prefill.index(name)] for cut in pipeline.cuts)
    if pipeline.stage(name).role == "embed" or not before:
        return max(pipeline.view_tokens)
    return max(grid.prefix_tokens + grid.keep[before - 1] for grid in pipeline.grids)


def functions_of_grids(functions: Sequence[Sequence[Function]]) -> tuple[Function, ...]:
    """Returns the functions of every grid, which have the grid's index in their names.

    >>> [(one.name, one.grid) for one in functions_of_grids([(MAIN,), (MAIN,)])]
    [('main', 0), ('main_grid_1', 1)]
    """
    return tuple(
        one._replace(name=f"{one.name}_grid_{nth}" if nth else one.name, grid=nth)
        for nth, alike in enumerate(functions)
        for one in alike
    )


def _whole_numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and 1 <= int(part) <= 32768 for part in parts):
        raise BadRequest(f"text tokens: got {text!r}; allowed: whole numbers from 1 to 32768 with commas, like 64,256")
    return tuple(map(int, parts))
