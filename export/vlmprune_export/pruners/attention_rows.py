"""Rows of an attention matrix, computed from the queries that are asked for and all keys, never the whole matrix."""

import torch
from torch import Tensor

LARGEST = 1e15
"""Queries and keys are clamped to this size, so that no product of theirs leaves the range of fp32."""


def attention_rows(  # (T, Hq * dh), (S, Hkv * dh), (T, S) -> (Hq, T, S)
    query: Tensor, keys: Tensor, heads: tuple[int, int], visible: Tensor
) -> Tensor:
    """Returns the attention probabilities of T queries over S keys, in fp32.

    `heads` are the numbers of query heads and of key heads; head h reads key head h // (Hq / Hkv). `visible` says which
    keys a query sees.
    """
    (query_heads, key_heads), (asked, seen) = heads, visible.shape
    size = query.shape[1] // query_heads
    queries = query.float().clamp(-LARGEST, LARGEST).view(asked, query_heads, size).transpose(0, 1)
    grouped = queries.reshape(key_heads, -1, size) * size**-0.5
    by_head = keys.float().clamp(-LARGEST, LARGEST).view(seen, key_heads, size).permute(1, 2, 0)
    logits = torch.bmm(grouped, by_head.contiguous()).view(query_heads, asked, seen)
    return torch.softmax(logits + torch.where(visible, 0.0, -3e38), dim=-1)


def seen_by(places: Tensor, keys: Tensor) -> Tensor:  # (T,), (S, ...) -> (T, S)
    """Returns which keys of a sequence a query at a place sees: its own and those before it.

    >>> seen_by(torch.tensor([1]), torch.zeros(3, 2)).tolist()
    [[True, True, False]]
    """
    return torch.arange(keys.shape[0])[None] <= places[:, None]


def behind(text_places: Tensor, places: Tensor) -> Tensor:  # (T,), (N,) -> (T,)
    """Returns whether each text token lies behind the visual tokens; padding, whose place is 0, never does.

    >>> behind(torch.tensor([0, 1, 5, 6, 0]), torch.tensor([2, 3, 4])).tolist()
    [False, False, True, True, False]
    """
    return text_places > places[-1:]
