"""The second handmade model in numpy: every step computed from the start, no cache, so it can be trusted."""

from collections.abc import Sequence

import numpy as np
from handmade_graphs import IMAGE, PATCH
from two_picture_graphs import HEIGHT, LAYERS, WIDTH, K, N, tokenizer, weights

Calls = Sequence[tuple[int, int]]
"""Which tokens were run together: from the first number to the one before the second."""

IMAGE_ID = tokenizer().token_to_id(IMAGE)


def positions_of(visual: np.ndarray) -> np.ndarray:  # (S,) -> (S, 3)
    """Time, row and column of each token; `visual` says which belong to images, each of which counts as WIDTH."""
    found, start = [], 0
    for place in range(len(visual)):
        if not visual[place]:
            found.append((start, start, start))
            start += 1
            continue
        nth = visual[:place].sum() % N
        found.append((start, start + nth // WIDTH, start + nth % WIDTH))
        start += WIDTH if nth == N - 1 else 0
    return np.array(found)


def attend(layer: int, rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """x + causal attention of x + what the positions add."""
    placed = rows + positions @ weights()["step"].astype(np.float64)
    scores = placed @ weights()["query"][layer] @ placed.T / np.sqrt(rows.shape[1])
    scores[np.triu_indices(len(rows), 1)] = -np.inf
    chances = np.exp(scores - scores.max(axis=1, keepdims=True))
    return rows + (chances / chances.sum(axis=1, keepdims=True)) @ placed


def see(pixels: np.ndarray) -> np.ndarray:  # (1, 3, H, W) -> (N, D)
    """Mean colour of each patch, projected."""
    patches = pixels[0].astype(np.float64).reshape(3, HEIGHT, PATCH, WIDTH, PATCH).mean(axis=(2, 4)).reshape(3, N)
    return patches.T @ weights()["project"]


def most_like(features: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of the K features most like the mean of the text, and the rank of each."""
    chosen = np.argsort(-(features @ text.mean(axis=0)), kind="stable")[:K]
    return np.sort(chosen), np.argsort(chosen)


def kept_of(token_ids: Sequence[int], calls: Calls, images: Sequence[np.ndarray]) -> list[tuple[np.ndarray, ...]]:
    """What stays of each image, and the rank of each; a prune stage sees the text of its own call."""
    kept, left = [], list(images)
    for start, stop in calls:
        ids = list(token_ids[start:stop])
        text = embedded([token for token in ids if token != IMAGE_ID])
        kept += [most_like(see(left.pop(0)), text) for _ in range(ids.count(IMAGE_ID) // N)]
    return kept


def next_logits(token_ids: list[int], calls: Calls, images: Sequence[np.ndarray], prune: bool) -> np.ndarray:
    """Logits after all of `token_ids`, of which the `calls` are those that images may be in."""
    prompts = np.zeros(len(token_ids), dtype=bool)
    for start, stop in calls:
        prompts[start:stop] = True
    visual = (np.array(token_ids) == IMAGE_ID) & prompts
    rows, stays, places = embedded(token_ids), np.ones(len(token_ids), dtype=bool), np.flatnonzero(visual)
    chosen = kept_of(token_ids, calls, images)
    for at, pixels, (kept, _) in zip(places.reshape(-1, N), images, chosen, strict=True):
        rows[at] = features = see(pixels)
        if prune:
            rows[at[kept]] = (features[kept] + features.mean(axis=0)) / 2
            stays[np.delete(at, kept)] = False
    rows, positions = rows[stays], positions_of(visual)[stays]
    for layer in range(LAYERS):
        rows = attend(layer, rows, positions)
    return rows[-1] @ weights()["out"]


def greedy(
    token_ids: Sequence[int], images: Sequence[np.ndarray], prune: bool, steps: int, calls: Calls | None = None
) -> list[int]:
    """The first `steps` greedy tokens; without `calls` all of the prompt is one."""
    ids, calls = list(token_ids), calls or [(0, len(token_ids))]
    for _ in range(steps):
        ids.append(int(np.argmax(next_logits(ids, calls, images, prune))))
    return ids[len(token_ids) :]


def embedded(token_ids: Sequence[int]) -> np.ndarray:
    """A row of the table per token; what stands at an image token is replaced later."""
    rows: np.ndarray = weights()["table"][np.array(token_ids)].astype(np.float64)
    return rows
