"""The module of SparseVLM, at one cut of the three that its schedules have."""

import torch
from torch import Tensor

from vlmprune_export.pruners.attention_rows import LARGEST, attention_rows, behind, seen_by
from vlmprune_export.pruners.needs import ALL_KEYS, HIDDEN, PLACES, TEXT_PLACES, Need
from vlmprune_export.pruners.pruner import Pruned, Pruner, keep_all
from vlmprune_export.pruners.similarity import products
from vlmprune_export.pruners.site import Site
from vlmprune_export.pruners.sparsevlm.clustering import merge_clusters
from vlmprune_export.pruners.sparsevlm.distance import attention_by_distance
from vlmprune_export.pruners.sparsevlm.settings import SparseVlmSettings, cluster_count, pool_size, select_count
from vlmprune_export.pruners.stable_sort import in_image_order, largest


class SparseVlm(Pruner):
    """Keeps what the rating text attends to; a merged token stands where its cluster's centre stood."""

    needs = (
        HIDDEN, PLACES, Need("embeddings"), Need("embeddings", "text"), Need("query", "text"), ALL_KEYS, TEXT_PLACES,
    )  # fmt: skip
    decay: Tensor | None

    def __init__(self, site: Site, settings: SparseVlmSettings) -> None:
        """Builds the pruner for a site. Raises `BadRequest` for a number of tokens that it cannot keep."""
        super().__init__()
        self.tokens, self.keep, self.settings = site.tokens, site.keep, settings
        self.heads = (site.parts.heads, site.parts.kv_heads)
        if self.tokens > self.keep:
            self.select = select_count(site.tokens, site.keep, settings)
        decay = attention_by_distance(site.parts, settings.any_distance) if settings.plus else None
        self.register_buffer("decay", decay, persistent=False)

    def forward(
        self, hidden: Tensor, places: Tensor, embeddings: Tensor, text: Tensor, query: Tensor, keys: Tensor,
        text_places: Tensor,
    ) -> Pruned:  # fmt: skip
        """Takes (N, D), (N,), (N, D), (T, D), (T, Hq * dh), (S, Hkv * dh), (T,); returns kept, rows and rank."""
        if self.tokens <= self.keep:
            return keep_all(hidden)
        raters = rating_text(embeddings, text, behind(text_places, places))
        rows = attention_rows(query, keys, self.heads, seen_by(text_places, keys))
        if self.decay is not None:
            rows = rows / self.decay.index_select(0, distances(text_places, keys).view(-1)).view(rows.shape[1:])
        shares = (raters / raters.sum(0).clamp(min=1.0)).view(1, 1, -1).expand(self.heads[0], 1, -1)
        by_head = torch.bmm(shares, rows)[:, 0].index_select(1, places)
        return self.prune(hidden, self.votes(by_head))

    def votes(self, by_head: Tensor) -> Tensor:  # (Hq, N) -> (N,)
        """Returns the mean over the heads that vote."""
        if self.settings.plus and self.settings.heads < self.heads[0]:
            by_head = by_head.index_select(0, largest(by_head.sum(1), self.settings.heads, self.control_flow))
        return by_head.mean(0)

    def prune(self, hidden: Tensor, scores: Tensor) -> Pruned:  # (N, D), (N,) -> (K,), (K, D), (K,)
        """Returns the kept indices in ascending order, their rows, merged ones among them, and the rank of each."""
        ranked = largest(scores, self.tokens, self.control_flow)
        chosen = ranked[: self.select]
        rows = hidden.index_select(0, chosen)
        if not self.settings.plus:
            pool, _ = in_image_order(ranked[self.select :][: pool_size(self.tokens - self.select)], self.control_flow)
            count = cluster_count(self.tokens, self.select)
            centres, merged = merge_clusters(hidden.index_select(0, pool), count, self.control_flow)
            chosen = torch.cat([chosen, pool.index_select(0, centres)])
            rows = torch.cat([rows, merged.to(rows.dtype)])
        kept, rank = in_image_order(chosen, self.control_flow)
        return kept, rows.index_select(0, rank), rank


def rating_text(embeddings: Tensor, text: Tensor, after: Tensor) -> Tensor:  # (N, D), (T, D), (T,) -> (T,)
    """Returns 1 for the text tokens behind the image that matter more than average to the image, otherwise 0.

    If none does, all text behind the image rates.
    """
    relevant = products(embeddings.float().clamp(-LARGEST, LARGEST), text.float().clamp(-LARGEST, LARGEST))
    weights = torch.softmax(relevant + torch.where(after, 0.0, -3e38), dim=-1).mean(0)
    weights = torch.where(after, weights, 0.0)
    above = torch.logical_and(after, weights > weights.sum(0) / after.sum(0).clamp(min=1))
    return torch.where(above.sum(0) > 0, above.float(), after.float())


def distances(text_places: Tensor, keys: Tensor) -> Tensor:  # (T,), (S, ...) -> (T, S)
    """Returns how far each text token stands behind each token of the sequence, 0 for tokens behind itself."""
    return (text_places[:, None] - torch.arange(keys.shape[0])[None]).clamp(min=0)
