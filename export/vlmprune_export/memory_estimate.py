"""Estimates the memory of a run, so that an app can refuse a bundle before the phone kills the app."""

from pathlib import Path

from vlmprune_runtime.schema import Cache, Memory, Stage, TextModel

_FLOAT_BYTES = 4
_ARENA = 2.5


def estimate(folder: Path, stages: dict[str, Stage], text: TextModel, tokens: int) -> Memory:
    """Returns the bytes of weights, KV cache at full context and activations of the widest stage, and their sum.

    The sum is an estimate and no bound. Activations count 2.5 times, as measured on the default model in ONNX
    Runtime, because an engine's arena grows in powers of two.
    """
    files = {file for stage in stages.values() for file in stage.files}
    weights = sum((folder / file).stat().st_size for file in files) + _copies_bytes(folder, stages)
    cache = sum(_cache_bytes(stage.cache, tokens) for stage in stages.values() if stage.cache)
    activations = round(_ARENA * _activations(text, tokens))
    return Memory(
        weights_bytes=weights,
        kv_cache_bytes=cache,
        activations_bytes=activations,
        peak_bytes=weights + cache + activations,
    )


def _copies_bytes(folder: Path, stages: dict[str, Stage]) -> int:
    """Returns the bytes of weights that graph files share on disk, and that each of them holds in memory."""
    return sum(
        (len(stage.graph_files) - 1) * (folder / file).stat().st_size
        for stage in stages.values()
        for file in stage.data
    )


def _cache_bytes(cache: Cache, tokens: int) -> int:
    """Returns the bytes of the keys and values of all layers of a stage at full capacity."""
    number_bytes = 2 if cache.dtype == "float16" else _FLOAT_BYTES
    return 2 * len(cache.layers) * cache.kv_heads * cache.head_dim * tokens * number_bytes


def _activations(text: TextModel, tokens: int) -> int:
    """Returns the bytes of a prefill: residual stream, the MLP's two wide rows, one layer's attention scores."""
    rows = tokens * (4 * text.hidden_size + 3 * text.intermediate_size)
    scores = text.attention_heads * tokens * tokens
    return (rows + scores + text.vocab_size) * _FLOAT_BYTES
