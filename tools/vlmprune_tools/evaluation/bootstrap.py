"""The paired bootstrap: all configs share the resampled items, so that the variance they share cancels."""

import zlib

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
BLOCK_CELLS = 2_000_000  # memory for one block of resamples

Array = npt.NDArray[np.float64]


def resampled_means(scores: Array, seed: int, task: str) -> Array:  # (M, I) -> (B, M)
    """Returns each config's mean score in each resample of a task's items; tasks are resampled independently."""
    items = scores.shape[1]
    rng = np.random.default_rng([seed, zlib.crc32(task.encode())])
    block = max(1, BLOCK_CELLS // items)
    sizes = [min(block, RESAMPLES - start) for start in range(0, RESAMPLES, block)]
    resamples = (rng.multinomial(items, np.full(items, 1 / items), size) for size in sizes)
    return np.concatenate([counts @ scores.T / items for counts in resamples])


def retained(means: Array) -> Array:  # (B, M) -> (B, M)
    """Returns percentages of the first config, the unpruned model; NaN where that scores 0."""
    unpruned = means[:, :1]
    return np.where(unpruned > 0, 100 * means / np.where(unpruned > 0, unpruned, 1.0), np.nan)


def percentiles(samples: Array) -> tuple[float, float] | None:  # (B,)
    """Returns the bounds of the middle 95 %, or None if all samples are NaN.

    >>> percentiles(np.arange(101.0))
    (2.5, 97.5)
    """
    known = samples[~np.isnan(samples)]
    if not known.size:
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)
