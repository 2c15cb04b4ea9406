"""Inputs of the stages of the tiny models that `tests/tiny.py` makes."""

from typing import Any

import numpy as np

WIDTH = 48


def head_inputs(tokens: int = 9, past: int = 0) -> dict[str, Any]:
    rows = np.random.default_rng(0).standard_normal((tokens, WIDTH)).astype(np.float32)
    return {"embeddings": rows, "positions": np.arange(past, past + tokens), "past_tokens": np.array([past], np.int32)}
