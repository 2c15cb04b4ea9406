"""Declares constant methods under the names that ExecuTorch's own LLM runners read."""

from typing import Any

from vlmprune_export.staged_model import StagedModel


def constant_methods(staged: StagedModel, context_tokens: int) -> dict[str, Any]:
    """Returns values by method name."""
    model: Any = staged.family.model
    text = staged.family.text_model
    constants = {
        "get_max_seq_len": context_tokens,
        "get_max_context_len": context_tokens,
        "get_vocab_size": text.vocab_size,
        "get_n_layers": text.layers,
        "get_bos_id": model.config.get_text_config().bos_token_id,
        "get_eos_ids": _listed(model.generation_config.eos_token_id),
        "use_kv_cache": True,
        "use_sdpa_with_kv_cache": True,
        "enable_dynamic_shape": True,
    }
    return {name: value for name, value in constants.items() if value is not None}


def _listed(token_ids: int | list[int] | None) -> list[int] | None:
    return [token_ids] if isinstance(token_ids, int) else token_ids
