"""Counts the FLOPs of every stage, and the largest speedup that they allow.

A multiply-add counts as two. Letters beside those of the package: T rows attended to (past and new), I width of
the gated MLP, H query heads, G key heads, d width of a head. One decoder layer for S rows:

    2 S D d (H + 2 G)    queries, keys, values
    2 S H d D            output projection
    4 S T H d            scores and weighted sum, each row against all T: dense, as causal kernels mostly compute it
    6 S D I              gate, up, down

`tail` is the last decoder stage, with 2 D V for the logits of the last token, `head` those before it. `vision` was
counted at export, matrix products and convolutions. Left out: `embed` (a look-up), norms, softmax, rope (under one
percent) and `prune`, whose work depends on the data; what it costs is in the measured times.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlmprune_runtime.schema import Bundle, TextModel


@dataclass(frozen=True)
class StageFlops:
    """Holds the FLOPs of one call of each stage; `vision`, of all images, is None if the bundle does not give it."""

    vision: int | None
    head: int
    tail: int

    @property
    def llm(self) -> int:
        """Head and tail together."""
        return self.head + self.tail


@dataclass(frozen=True)
class Ceiling:
    """Holds unpruned over pruned FLOPs: the speedup if every FLOP took the same time and pruning no time."""

    llm_prefill: float
    ttft: float | None


def layer_flops(text: TextModel, rows: int, attended: int) -> int:
    """Returns the FLOPs of one decoder layer for `rows` new tokens that see `attended` tokens.

    >>> text = TextModel(layers=2, hidden_size=8, intermediate_size=16, attention_heads=2, kv_heads=1, head_dim=4,
    ...     vocab_size=100)
    >>> layer_flops(text, rows=1, attended=0) == 2 * (8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 16)
    True
    >>> layer_flops(text, rows=3, attended=5) - layer_flops(text, rows=3, attended=0) == 4 * 3 * 5 * 8
    True
    """
    queries = text.attention_heads * text.head_dim
    keys = text.kv_heads * text.head_dim
    projections = 2 * text.hidden_size * (2 * queries + 2 * keys)
    mlp = 6 * text.hidden_size * text.intermediate_size
    return rows * (projections + mlp + 4 * attended * queries)


def logits_flops(text: TextModel) -> int:
    """Returns the FLOPs of the logits of one token.

    >>> logits_flops(TextModel(layers=1, hidden_size=8, intermediate_size=1, attention_heads=1, kv_heads=1,
    ...     head_dim=1, vocab_size=100))
    1600
    """
    return 2 * text.hidden_size * text.vocab_size


def prefill_flops(bundle: Bundle, prompt_tokens: int, grids: Sequence[int], *, prune: bool) -> StageFlops:
    """Returns the FLOPs of the prefill of a prompt of `prompt_tokens`, those of views on these grids included."""
    tokens = rows_of_decoders(bundle, prompt_tokens, grids, prune=prune)
    counted = [bundle.grids[index].vision_flops for index in grids]
    vision = None if None in counted else sum(flops or 0 for flops in counted)
    *head, tail = (_decoder(bundle, name, rows, rows) for name, rows in tokens.items())
    return StageFlops(vision, sum(head), tail)


def decode_flops(bundle: Bundle, past_tokens: Mapping[str, int]) -> StageFlops:
    """Returns the FLOPs of one new token after so many tokens in the cache of each decoder stage."""
    *head, tail = (_decoder(bundle, name, 1, past + 1) for name, past in past_tokens.items())
    return StageFlops(0, sum(head), tail)


def rows_of_decoders(bundle: Bundle, prompt_tokens: int, grids: Sequence[int], *, prune: bool) -> dict[str, int]:
    """Returns how many tokens of a prompt with views on these grids each decoder stage sees."""
    rows, seen = prompt_tokens, [bundle.grids[index] for index in grids]
    left = [sum(tokens) for tokens in zip(*((grid.visual_tokens, *grid.keep) for grid in seen), strict=True)]
    tokens = {}
    for name in bundle.prefill:
        role = bundle.stages[name].role
        if role == "prune" and prune:
            rows -= left.pop(0) - left[0]
        elif role == "decoder":
            tokens[name] = rows
    return tokens


def ceiling(unpruned: StageFlops, pruned: StageFlops) -> Ceiling:
    """Returns the largest speedup that pruning allows: stages before the first cut cost the same either way.

    >>> ceiling(StageFlops(100, 100, 900), StageFlops(100, 100, 100))
    Ceiling(llm_prefill=5.0, ttft=3.6666666666666665)
    >>> ceiling(StageFlops(None, 100, 900), StageFlops(None, 100, 100)).ttft is None
    True
    """
    llm = unpruned.llm / pruned.llm
    if unpruned.vision is None or pruned.vision is None:
        return Ceiling(llm, None)
    return Ceiling(llm, (unpruned.vision + unpruned.llm) / (pruned.vision + pruned.llm))


def _decoder(bundle: Bundle, name: str, rows: int, attended: int) -> int:
    stage = bundle.stages[name]
    layers = 0 if stage.cache is None else len(stage.cache.layers)
    logits = logits_flops(bundle.text_model) if stage.output("logits") else 0
    return layers * layer_flops(bundle.text_model, rows, attended) + logits
