"""The five stages a model is cut into; each is a plain module that every backend captures as it is.

`head` and `tail` take their cache as an argument, so that a backend decides how it is stored.
"""

from torch import Tensor, nn

from vlmprune_export.adapters import Adapter
from vlmprune_export.attention import StageCache


class VisionStage(nn.Module):
    """Pixels to visual embeddings: tower and projector."""

    def __init__(self, adapter: Adapter) -> None:
        super().__init__()
        self.adapter = adapter
        self.model = adapter.model  # registers the weights

    def forward(self, pixels: Tensor) -> Tensor:  # (1, 3, height, width) -> (N, D)
        """Visual embeddings of one image, row-major over the grid."""
        return self.adapter.visual(pixels)


class EmbedStage(nn.Module):
    """Token ids to embeddings."""

    def __init__(self, adapter: Adapter) -> None:
        super().__init__()
        self.embedding = adapter.embedding

    def forward(self, token_ids: Tensor) -> Tensor:  # (S,) -> (S, D)
        """Input embeddings of the text model."""
        embeddings: Tensor = self.embedding(token_ids)
        return embeddings


class DecoderStage(nn.Module):
    """A run of decoder layers that share one cache."""

    def __init__(self, adapter: Adapter, first: int, last: int) -> None:
        super().__init__()
        self.adapter = adapter
        self.layers = nn.ModuleList(adapter.layers[first:last])
        self.layer_indices = range(first, last)

    def forward(self, hidden: Tensor, positions: Tensor, cache: StageCache) -> Tensor:  # (S, D), (S,) -> (S, D)
        """Hidden states after the last of the layers; the cache has seen their keys and values."""
        states, position_ids = hidden[None], positions[None]
        rotary = self.adapter.rotary(states, position_ids)
        for layer in self.layers:
            states = layer(
                states,
                attention_mask=None,
                position_ids=position_ids,
                position_embeddings=rotary,
                past_key_values=cache,
                stage_cache=cache,
            )
        return states[0]


class HeadStage(nn.Module):
    """Decoder layers 0..L-1: they see every visual token."""

    def __init__(self, adapter: Adapter, layer: int) -> None:
        super().__init__()
        self.decoder = DecoderStage(adapter, 0, layer)

    def forward(  # (S, D), (S,) -> (S, D), (S, Dk)
        self, embeddings: Tensor, positions: Tensor, cache: StageCache
    ) -> tuple[Tensor, Tensor]:
        """Raw output of layer L-1 and that layer's keys after RoPE, all key heads side by side."""
        hidden = self.decoder(embeddings, positions, cache)
        keys: Tensor = cache.new_keys  # type: ignore[attr-defined]
        return hidden, keys[0].transpose(0, 1).flatten(1)


class TailStage(nn.Module):
    """Decoder layers L.., final norm and language-model head."""

    def __init__(self, adapter: Adapter, layer: int) -> None:
        super().__init__()
        self.decoder = DecoderStage(adapter, layer, len(adapter.layers))
        self.norm, self.lm_head = adapter.norm, adapter.lm_head

    def forward(self, hidden: Tensor, positions: Tensor, cache: StageCache) -> Tensor:  # (S, D), (S,) -> (V,)
        """Logits of the last token."""
        last = self.decoder(hidden, positions, cache)[-1:]
        logits: Tensor = self.lm_head(self.norm(last))
        return logits[0]
