"""VLM-Pruner said slowly: loops over tokens, every score worked out anew, nothing shared with the module."""

import math

import numpy as np

F = np.float32


def pivots(keys, count):
    """Largest L1 norm, then the farthest from all chosen; the lowest index wins a tie."""
    keys = np.asarray(keys, dtype=np.float64)
    chosen = [max(range(len(keys)), key=lambda i: (np.abs(keys[i]).sum(), -i))]
    while len(chosen) < count:
        free = [i for i in range(len(keys)) if i not in chosen]
        away = {i: min(((keys[i] - keys[j]) ** 2).sum() for j in chosen) for i in free}
        chosen.append(max(free, key=lambda i: (away[i], -i)))
    return chosen


def similarities(hidden, channels):
    """Cosines (N, N) over the most varying channels."""
    hidden = np.asarray(hidden, dtype=np.float64)
    variance = hidden.var(0)
    picked = sorted(range(hidden.shape[1]), key=lambda c: (-variance[c], c))[:channels]
    rows = hidden[:, sorted(picked)]
    norms = np.maximum(np.sqrt((rows**2).sum(1)), 1e-8)
    return (rows @ rows.T / norms[:, None] / norms[None]).astype(F)


def selection(similar, start, grid, keep, settings):
    """Chosen tokens in the order chosen: rounds, batches and scores exactly as the paper tells them."""
    height, width = grid
    weight = F(settings.distance_weight / math.hypot(height, width))

    def score(i):
        squares = [(i // width - j // width) ** 2 + (i % width - j % width) ** 2 for j in chosen]
        spread = F(1) + np.sqrt(F(min(squares))) * weight
        return spread * max(similar[i][j] for j in chosen)

    chosen, threshold = list(start), F(settings.threshold)
    while len(chosen) < keep:
        free = [i for i in range(height * width) if i not in chosen]
        ranking = sorted(free, key=lambda i: (score(i), i))
        for first in range(0, len(ranking), settings.batch):
            batch = ranking[first : first + settings.batch]
            now = {i: score(i) for i in batch}
            below = sorted((i for i in batch if now[i] < threshold), key=lambda i: now[i])  # sorted() is stable
            chosen += below[: keep - len(chosen)]
        threshold = threshold + F(settings.threshold_step)
    return chosen


def aggregation(hidden, similar, kept, beta):
    """Kept rows mixed with the discarded tokens nearest to them, one token at a time."""
    hidden = np.asarray(hidden, dtype=np.float64)
    parts = {j: [] for j in kept}
    for u in set(range(len(hidden))) - set(kept):
        nearest = max(kept, key=lambda j: (similar[u][j], -j))
        parts[nearest].append((float(similar[u][nearest]), hidden[u]))
    rows = []
    for j in kept:
        total = sum(w for w, _ in parts[j])
        mixed = sum((w * row for w, row in parts[j]), np.zeros(hidden.shape[1])) / max(total, 1e-8)
        rows.append(beta * hidden[j] + (1 - beta) * mixed if total > 0 else hidden[j])
    return np.array(rows)
