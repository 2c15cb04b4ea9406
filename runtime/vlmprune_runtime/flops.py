"""FLOPs of every stage, and the speedup they allow at most.

A multiply-add counts as two. Letters beside those of the package: T rows attended to (past and new), I width of
the gated MLP, H query heads, G key heads, d width of a head. One decoder layer for S rows:

    2 S D d (H + 2 G)    queries, keys, values
    2 S H d D            output projection
    4 S T H d            scores and weighted sum, each row against all T: dense, as causal kernels mostly compute it
    6 S D I              gate, up, down

`head` is L such layers, `tail` the others and 2 D V for the logits of the last token. `vision` was counted at
export, matrix products and convolutions. Left out: `embed` (a look-up), norms, softmax, rope (under one percent) and
`prune`, whose work depends on the data; what it costs is in the measured times.
"""

from dataclasses import dataclass

from vlmprune_runtime.schema import Bundle, TextModel


@dataclass(frozen=True)
class StageFlops:
    """FLOPs of one call of each stage; `vision`, of all images, is None where the bundle does not say."""

    vision: int | None
    head: int
    tail: int

    @property
    def llm(self) -> int:
        """Head and tail together."""
        return self.head + self.tail


@dataclass(frozen=True)
class Ceiling:
    """Unpruned over pruned FLOPs: the speedup if every FLOP took the same time and pruning none."""

    llm_prefill: float
    ttft: float | None


def layer_flops(text: TextModel, rows: int, attended: int) -> int:
    """One decoder layer for `rows` new tokens that see `attended` tokens.

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
    """The logits of one token.

    >>> logits_flops(TextModel(layers=1, hidden_size=8, intermediate_size=1, attention_heads=1, kv_heads=1,
    ...     head_dim=1, vocab_size=100))
    1600
    """
    return 2 * text.hidden_size * text.vocab_size


def prefill_flops(bundle: Bundle, prompt_tokens: int, images: int, *, prune: bool) -> StageFlops:
    """Prefill of a prompt of `prompt_tokens`, visual tokens included."""
    rows = prompt_tokens - (images * dropped_tokens(bundle) if prune else 0)
    vision = None if bundle.vision_flops is None else images * bundle.vision_flops
    return StageFlops(vision, _head(bundle, prompt_tokens, prompt_tokens), _tail(bundle, rows, rows))


def decode_flops(bundle: Bundle, head_tokens: int, tail_tokens: int) -> StageFlops:
    """One new token after so many tokens in each cache."""
    return StageFlops(0, _head(bundle, 1, head_tokens + 1), _tail(bundle, 1, tail_tokens + 1))


def ceiling(unpruned: StageFlops, pruned: StageFlops) -> Ceiling:
    """What pruning can gain at most: the vision stage and the head gain nothing.

    >>> ceiling(StageFlops(100, 100, 900), StageFlops(100, 100, 100))
    Ceiling(llm_prefill=5.0, ttft=3.6666666666666665)
    >>> ceiling(StageFlops(None, 100, 900), StageFlops(None, 100, 100)).ttft is None
    True
    """
    llm = unpruned.llm / pruned.llm
    if unpruned.vision is None or pruned.vision is None:
        return Ceiling(llm, None)
    return Ceiling(llm, (unpruned.vision + unpruned.llm) / (pruned.vision + pruned.llm))


def dropped_tokens(bundle: Bundle) -> int:
    """Visual tokens of an image that the tail does not see."""
    return bundle.pruner.visual_tokens - bundle.pruner.keep


def _head(bundle: Bundle, rows: int, attended: int) -> int:
    return bundle.pruner.layer * layer_flops(bundle.text_model, rows, attended)


def _tail(bundle: Bundle, rows: int, attended: int) -> int:
    layers = bundle.text_model.layers - bundle.pruner.layer
    return layers * layer_flops(bundle.text_model, rows, attended) + logits_flops(bundle.text_model)
