"""What the families have in common whose decoder is one of the Llama kind: one rope, full attention in every layer."""

from typing import Any

from vlmprune_runtime.errors import UnknownName
from vlmprune_runtime.schema import TextModel

TEXT_MODELS = ("llama", "mistral", "qwen2")
STATIC_ROPE = ("default", "linear", "llama3", "yarn")


def check_text_model(text: Any, family: str, allowed: tuple[str, ...] = TEXT_MODELS) -> None:
    """Raises `UnknownName` for a decoder of another kind, or a rope that depends on the length of the text."""
    if text.model_type not in allowed:
        raise UnknownName(f"text model of a {family} checkpoint", text.model_type, allowed)
    rope = (getattr(text, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope not in STATIC_ROPE:
        raise UnknownName("rope type (it must not depend on the length)", rope, STATIC_ROPE)


def max_positions_of(text: Any) -> int:
    """Returns how many positions every layer attends to: those of the config, or a shorter sliding window."""
    uses_window = getattr(text, "use_sliding_window", True)
    window = getattr(text, "sliding_window", None) if uses_window else None
    return min(int(text.max_position_embeddings), int(window or text.max_position_embeddings))


def dimensions_of(text: Any) -> TextModel:
    """Returns the dimensions of a decoder from its config."""
    return TextModel(
        layers=text.num_hidden_layers,
        hidden_size=text.hidden_size,
        intermediate_size=text.intermediate_size,
        attention_heads=text.num_attention_heads,
        kv_heads=text.num_key_value_heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
        vocab_size=text.vocab_size,
    )
