"""The modules that a model is cut into; each is a plain module that every backend captures as it is.

A decoder stage takes its cache as an argument, so that a backend decides how the cache is stored.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vlmprune_export.decoder_attention import Projections, StageCache
from vlmprune_export.families import Family
from vlmprune_export.families.family import DEEPSTACK, VIEWS

READABLE = ("keys", "query", "next_keys", "next_query")
"""What a decoder stage can show beside the hidden states: keys and queries after RoPE, of its last layer or the next.

Those of the next layer are what it would compute of the hidden states; the stage then has its norm and attention too.
"""


class VisionStage(nn.Module):
    """Turns the pixels of one view into visual embeddings: tower and projector."""

    def __init__(self, family: Family, grid: int = 0, reads: Sequence[str] = ()) -> None:
        """`grid` is the index of the family's grid that the images have; `reads` are what is shown of the tower."""
        super().__init__()
        self.family, self.grid, self.reads = family, grid, tuple(reads)
        self.parts = nn.ModuleList(family.vision_modules)  # registers the weights of this stage, and no others

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:  # (1, 3, height, width) -> (N, D), what is read (N, ...)
        """Returns the visual embeddings, row-major over the grid, and what is read of the tower."""
        if not self.reads:
            return (self.family.features(pixels, self.grid),)
        return self.family.read_tower(pixels, self.grid, self.reads)


class EmbedStage(nn.Module):
    """Turns token ids into embeddings, as the model itself embeds text."""

    def __init__(self, family: Family) -> None:
        super().__init__()
        self.family = family
        self.parts = nn.ModuleList(family.embed_modules)

    def forward(self, token_ids: Tensor) -> Tensor:  # (S,) -> (S, D)
        """Returns the rows that the first decoder layer takes."""
        return self.family.embed(token_ids)


class DecoderStage(nn.Module):
    """A run of decoder layers that share one cache; the last run ends with norm and language-model head."""

    def __init__(self, family: Family, first: int, last: int, reads: Sequence[str] = ()) -> None:
        """Layers `first` to `last` - 1; `reads` are what is shown of the last of them, of `READABLE`."""
        super().__init__()
        self.family, self.reads = family, tuple(reads)
        self.layers = nn.ModuleList(family.layers[first:last])
        self.layer_indices = range(first, last)
        self.norm: nn.Module | None = None
        self.lm_head: nn.Module | None = None
        self.logit_cap = family.logit_cap
        if last == len(family.layers):
            self.norm, self.lm_head = family.norm, family.lm_head
        self.next_parts = nn.ModuleList()
        if any(name.startswith("next_") for name in reads):
            following = family.layers[last]
            self.next_parts.extend([following.input_layernorm, following.self_attn])  # type: ignore[list-item]

    def forward(  # (S, D), (S,) or (axes, S) -> (S, D), what is read (S, ...); or (V,)
        self, rows: Tensor, positions: Tensor, cache: StageCache, *extra: Tensor
    ) -> tuple[Tensor, ...]:
        """Returns the raw output of the last layer and what is read of it, or the logits of the last token.

        `extra` is what the family's traits ask for, in their order.
        """
        hidden = self.hidden(rows, positions, cache, *extra)
        if self.lm_head is not None:
            return (self.logits(hidden[-1:])[0],)
        shown = {name: getattr(cache, f"new_{name}") for name in ("keys", "query")}
        if self.next_parts:
            following = self.next_projections(hidden, positions)
            shown |= {"next_keys": following.new_keys, "next_query": following.new_query}
        return (hidden, *(_flat(shown[name]) for name in self.reads))

    def logits(self, rows: Tensor) -> Tensor:  # (S, D) -> (S, V)
        """Returns the logits of hidden states, capped where the model caps them."""
        assert self.norm is not None and self.lm_head is not None
        logits: Tensor = self.lm_head(self.norm(rows))
        return logits if self.logit_cap is None else self.logit_cap * torch.tanh(logits / self.logit_cap)

    def hidden(  # (S, D), (S,) -> (S, D)
        self, rows: Tensor, positions: Tensor, cache: StageCache, *extra: Tensor
    ) -> Tensor:
        """Returns hidden states after the last of the layers; the cache has seen their keys and values."""
        more = dict(zip(self.family.traits.inputs, extra, strict=True)) if extra else {}
        if VIEWS in more:
            cache.views = more[VIEWS]
        states, position_ids = rows[None], _batched(positions)
        kinds = {self.family.layer_kinds[index] for index in self.layer_indices}
        rotary = {kind: self.family.rotary(states, position_ids, kind) for kind in sorted(kinds)}
        for index, layer in zip(self.layer_indices, self.layers, strict=True):
            states = layer(
                states,
                attention_mask=None,
                position_ids=position_ids,
                position_embeddings=rotary[self.family.layer_kinds[index]],
                past_key_values=cache,
                stage_cache=cache,
            )
            if DEEPSTACK in more and index in self.family.traits.deepstack_layers:
                states = states + more[DEEPSTACK][:, self.family.traits.deepstack_layers.index(index)][None]
        return states[0]

    def next_projections(self, hidden: Tensor, positions: Tensor) -> Projections:  # (S, D), (S,)
        """Returns the keys and queries that the layer behind this stage computes of these hidden states."""
        norm, attention = self.next_parts
        found, index = Projections(), self.layer_indices.stop
        states = norm(hidden[None])
        rotary = self.family.rotary(states, _batched(positions), self.family.layer_kinds[index])
        attention(
            hidden_states=states, position_embeddings=rotary, attention_mask=None, past_key_values=found,
            stage_cache=found,
        )  # fmt: skip
        return found


def _batched(positions: Tensor) -> Tensor:  # (S,) or (axes, S) -> (1, S) or (axes, 1, S)
    return positions[None] if positions.dim() == 1 else positions[:, None]


def _flat(states: Tensor) -> Tensor:  # (1, H, S, dh) -> (S, H * dh)
    return states[0].transpose(0, 1).flatten(1)
