"""Paired bootstrap: items are drawn anew, the same for all ways, so that what they have in common cancels."""

import zlib

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
BLOCK_CELLS = 2_000_000  # memory for one block of resamples

Array = npt.NDArray[np.float64]


def resampled_means(scores: Array, seed: int, task: str) -> Array:  # (M, I) -> (B, M)
    """Mean score of each way in each resample of one task's items; a task's draw does not depend on the others."""
    items = scores.shape[1]
    dice = np.random.default_rng([seed, zlib.crc32(task.encode())])
    block = max(1, BLOCK_CELLS // items)
    sizes = [min(block, RESAMPLES - start) for start in range(0, RESAMPLES, block)]
    drawn = (dice.multinomial(items, np.full(items, 1 / items), size) for size in sizes)
    return np.concatenate([counts @ scores.T / items for counts in drawn])


def retained(means: Array) -> Array:  # (B, M) -> (B, M)
    """Percent of the first way, which is the unpruned one; NaN where that got nothing right."""
    whole = means[:, :1]
    return np.where(whole > 0, 100 * means / np.where(whole > 0, whole, 1.0), np.nan)


def percentiles(samples: Array) -> tuple[float, float] | None:  # (B,)
    """The middle 95 %, None if there is nothing to take it of.

    >>> percentiles(np.arange(101.0))
    (2.5, 97.5)
    """
    known = samples[~np.isnan(samples)]
    if not known.size:
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)
