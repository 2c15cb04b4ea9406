"""Which lengths the functions of a package have: Core ML must know them beforehand."""

from collections.abc import Sequence

from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.schema import Function

DEFAULT_TEXT_TOKENS = (64, 256)
"""Text tokens around an image that a prefill has room for; what is shorter is padded."""


def text_lengths(wish: str | None, visual_tokens: int, context_tokens: int) -> tuple[int, ...]:
    """Ascending text lengths from `64,256`, none longer than the context leaves room for.

    >>> text_lengths("256,64", 576, 1024), text_lengths(None, 49, 96)
    ((64, 256), (47,))
    """
    room = context_tokens - visual_tokens
    wished = DEFAULT_TEXT_TOKENS if wish is None else _whole_numbers(wish)
    return tuple(sorted({min(length, room) for length in wished}))


def prefill_functions(prefix: str, rows: int, texts: Sequence[int]) -> tuple[Function, ...]:
    """One function per text length, the shortest without a number in its name; `rows` are its other tokens.

    >>> [(one.name, one.tokens) for one in prefill_functions("prefill", 576, (64, 256))]
    [('prefill', 640), ('prefill_256', 832)]
    """
    names = [prefix, *(f"{prefix}_{text}" for text in texts[1:])]
    return tuple(
        Function(name=name, phase="prefill", tokens=rows + text) for name, text in zip(names, texts, strict=True)
    )


DECODE = Function(name="decode", phase="decode", tokens=1)
MAIN = Function(name="main", phase="any")


def functions_of(stage: str, visual_tokens: int, keep: int, texts: Sequence[int]) -> tuple[Function, ...]:
    """The functions of a stage; the first is the package's default."""
    if stage in ("vision", "prune"):
        return (MAIN,)
    if stage in ("embed", "head"):
        return (*prefill_functions("prefill", visual_tokens, texts), DECODE)
    pruned = prefill_functions("prefill_pruned", keep, texts)
    return (*pruned, *prefill_functions("prefill_full", visual_tokens, texts), DECODE)


def _whole_numbers(wish: str) -> tuple[int, ...]:
    parts = [part.strip() for part in wish.split(",")]
    if not all(part.isascii() and part.isdigit() and 1 <= int(part) <= 32768 for part in parts):
        raise BadRequest(f"text tokens: got {wish!r}; allowed: whole numbers from 1 to 32768 with commas, like 64,256")
    return tuple(map(int, parts))
