"""Computes the lengths of a package's functions, which Core ML must know in advance."""

from collections.abc import Sequence, Set
from typing import NamedTuple

from vlmprune_export.staged_model import ONE_VIEW, PictureLength
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
MAIN = Function("main", "any")


def text_lengths(requested: str | None, visual_tokens: int, context_tokens: int) -> tuple[int, ...]:
    """Returns text lengths from `64,256`, ascending, none longer than the context leaves room for.

    >>> text_lengths("256,64", 576, 1024), text_lengths(None, 49, 96)
    ((64, 256), (47,))
    """
    room = context_tokens - visual_tokens
    lengths = DEFAULT_TEXT_TOKENS if requested is None else _whole_numbers(requested)
    return tuple(sorted({min(length, room) for length in lengths}))


def prefill_functions(prefix: str, rows: int, texts: Sequence[int]) -> tuple[Function, ...]:
    """Returns a function per text length, the shortest without a number in its name; `rows` are its other tokens.

    >>> [(one.name, one.tokens) for one in prefill_functions("prefill", 576, (64, 256))]
    [('prefill', 640), ('prefill_256', 832)]
    """
    names = [prefix, *(f"{prefix}_{text}" for text in texts[1:])]
    return tuple(Function(name, "prefill", rows + text) for name, text in zip(names, texts, strict=True))


def prune_functions(free: Set[str], rows: int, texts: Sequence[int]) -> tuple[Function, ...]:
    """Returns a function per text length of a pruner that reads text or the whole sequence.

    >>> prune_functions({"text_tokens"}, 576, (64,))
    (Function(name='main', phase='prefill', tokens=None, text_tokens=64, grid=None),)
    """
    names = ["main", *(f"main_{text}" for text in texts[1:])]
    return tuple(
        Function(
            name,
            "prefill",
            rows + text if "tokens" in free else None,
            text if "text_tokens" in free else None,
        )
        for name, text in zip(names, texts, strict=True)
    )


def picture_functions(
    prefix: str, view_tokens: int, pictures: Sequence[PictureLength], texts: Sequence[int]
) -> tuple[Function, ...]:
    """Returns prefills for each length that a picture has, for all text lengths only with the longest picture.

    >>> pictures = [PictureLength(3, 10), PictureLength(5, 20)]
    >>> [(one.name, one.tokens) for one in picture_functions("prefill", 16, pictures, (64, 256))]
    [('prefill', 122), ('prefill_5_views', 164), ('prefill_5_views_256', 356)]
    """
    functions = list[Function]()
    for nth, picture in enumerate(pictures):
        name = f"{prefix}_{picture.views}_views" if nth else prefix
        some = texts if nth == len(pictures) - 1 else texts[:1]
        functions += prefill_functions(name, picture.tokens(view_tokens), some)
    return tuple(functions)


def functions_of(
    pipeline: Pipeline, name: str, texts: Sequence[int], pictures: Sequence[PictureLength] = ONE_VIEW
) -> tuple[Function, ...]:
    """Returns the functions of a stage; the first is the package's default.

    A stage behind a cut has prefills for the pruned sequence and for the full one. With several grids prefills have
    room for the largest one, and a stage that runs per view has functions for each. Without any cut a pruned prompt has
    a smaller picture, for which every stage of the sequence has prefills.
    """
    if pipeline.stage(name).role in ("vision", "prune"):
        inputs = pipeline.stage(name).inputs
        free = {size for tensor in inputs for size in tensor.shape if isinstance(size, str)}
        tokens_of = pipeline.view_tokens
        if pipeline.stage(name).role == "prune":
            tokens_of += tuple(tokens_of[mosaic.grid] for mosaic in pipeline.mosaics)
        longest = [pictures[-1].tokens(tokens) for tokens in tokens_of]
        alike = [prune_functions(free, tokens, texts) if free else (MAIN,) for tokens in longest]
        return functions_of_grids(alike) if len(alike) > 1 else alike[0]
    rows, fewer = max(pipeline.view_tokens), _pruned_rows(pipeline, name)
    if fewer == rows:
        return (*picture_functions("prefill", rows, pictures, texts), DECODE)
    pruned = picture_functions("prefill_pruned", fewer, pictures, texts)
    return (*pruned, *picture_functions("prefill_full", rows, pictures, texts), DECODE)


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
