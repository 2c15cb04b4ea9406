"""The handmade model in numpy: every step computed from the start, no cache, so it can be trusted."""

import numpy as np
from handmade_graphs import K, N, weights


def attend(rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """x + causal attention of x + position / 100."""
    placed = rows + positions[:, None] / 100
    scores = placed @ placed.T / np.sqrt(rows.shape[1])
    scores[np.triu_indices(len(rows), 1)] = -np.inf
    chances = np.exp(scores - scores.max(axis=1, keepdims=True))
    return rows + (chances / chances.sum(axis=1, keepdims=True)) @ placed


def see(pixels: np.ndarray) -> np.ndarray:
    """Mean colour of each patch, projected."""
    patches = pixels[0].reshape(3, 4, 7, 4, 7).mean(axis=(2, 4)).reshape(3, N).T
    return patches @ weights()["project"]


def next_logits(token_ids: np.ndarray, start: int, pixels: np.ndarray, prune: bool) -> np.ndarray:
    """Logits after all of `token_ids`, whose visual tokens lie from `start` on."""
    rows = weights()["table"][np.where(token_ids < len(weights()["table"]), token_ids, 0)].astype(np.float64)
    rows[start : start + N] = see(pixels)
    positions = np.arange(len(rows))
    hidden = attend(rows, positions)
    if prune:
        kept = np.sort(np.argsort(-hidden[start : start + N].sum(axis=1), kind="stable")[:K]) + start
        hidden[kept] *= 0.5
        stays = np.r_[np.arange(start), kept, np.arange(start + N, len(rows))]
        hidden, positions = hidden[stays], positions[stays]
    return attend(hidden, positions)[-1] @ weights()["out"]


def greedy(token_ids: np.ndarray, start: int, pixels: np.ndarray, prune: bool, steps: int) -> list[int]:
    """The first `steps` greedy tokens."""
    ids = list(token_ids)
    for _ in range(steps):
        ids.append(int(np.argmax(next_logits(np.array(ids), start, pixels, prune))))
    return ids[len(token_ids) :]
