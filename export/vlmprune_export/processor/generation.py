"""Reads a checkpoint's generation settings, as far as a runner can follow them."""

from collections.abc import Iterable
from typing import Any

from vlmprune_export.settings_errors import settings_of
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.progress import Report
from vlmprune_runtime.schema import Generation

# Settings that change answers and that no runner follows, with the values at which they do nothing.
_AT_REST: dict[str, tuple[Any, ...]] = {
    "num_beams": (None, 1),
    "num_beam_groups": (None, 1),
    "num_return_sequences": (None, 1),
    "penalty_alpha": (None, 0, 0.0),
    "dola_layers": (None,),
    "constraints": (None,),
    "force_words_ids": (None,),
    "guidance_scale": (None, 1),
    "sequence_bias": (None,),
    "encoder_repetition_penalty": (None, 1),
    "encoder_no_repeat_ngram_size": (None, 0),
    "exponential_decay_length_penalty": (None,),
    "watermarking_config": (None,),
    "stop_strings": (None,),
    "max_time": (None,),
    "token_healing": (None, False),
}
# The same for settings that only matter where tokens are drawn.
_AT_REST_DRAWING: dict[str, tuple[Any, ...]] = {
    "typical_p": (None, 1),
    "epsilon_cutoff": (None, 0),
    "eta_cutoff": (None, 0),
    "top_h": (None,),
}
_TOP_K = 50  # of `generate` where tokens are drawn and nothing is said


def generation_settings(model: Any, notice: Report = lambda line: None) -> Generation:
    """Returns what `generate` does by the checkpoint's defaults; calls `notice` with one line on settings left out.

    Raises `BadRequest` for settings out of range, and where no end-of-sequence token is named.
    """
    config = model.generation_config
    if left_out := sorted(_left_out(config)):
        notice(f"warning: generation settings of the checkpoint that runners do not follow: {', '.join(left_out)}")
    with settings_of("generation_config.json"):
        stops = _stop_tokens(model)
        return Generation(stop_token_ids=stops, **_limits(config), **_bans(config), **_drawing(config))


def _left_out(config: Any) -> Iterable[str]:
    table = _AT_REST | (_AT_REST_DRAWING if getattr(config, "do_sample", None) else {})
    for name, values in table.items():
        value = getattr(config, name, None)
        if value not in values:
            yield f"{name} {value!r:.40}"


def _limits(config: Any) -> dict[str, Any]:
    """Returns the limits of length; those of new tokens override those of the whole sequence."""
    most, fewest = _value(config, "max_new_tokens", None), _value(config, "min_new_tokens", None)
    return {
        "max_new_tokens": most,
        "max_length": _value(config, "max_length", None) if most is None else None,
        "min_new_tokens": fewest or 0,
        "min_length": _value(config, "min_length", 0) if fewest is None else 0,
    }


def _bans(config: Any) -> dict[str, Any]:
    return {
        "repetition_penalty": _value(config, "repetition_penalty", 1.0),
        "no_repeat_ngram_size": _value(config, "no_repeat_ngram_size", 0),
        "bad_words_ids": tuple(map(_ids, _value(config, "bad_words_ids", ()))),
        "forced_stop_token_ids": _ids(_value(config, "forced_eos_token_id", ())),
        "suppress_token_ids": _ids(_value(config, "suppress_tokens", ())),
        "begin_suppress_token_ids": _ids(_value(config, "begin_suppress_tokens", ())),
    }


def _drawing(config: Any) -> dict[str, Any]:
    """Returns how tokens are sampled, by default or on request; checkpoints without `do_sample` may have zeros here."""
    drawn = bool(_value(config, "do_sample", False))
    return {
        "do_sample": drawn,
        "temperature": _value(config, "temperature", 1.0) or (0.0 if drawn else 1.0),
        "top_k": _value(config, "top_k", _TOP_K),
        "top_p": _value(config, "top_p", 1.0) or (0.0 if drawn else 1.0),
        "min_p": _value(config, "min_p", 0.0),
    }


def _stop_tokens(model: Any) -> tuple[int, ...]:
    for config in (model.generation_config, model.config, model.config.text_config):
        value = getattr(config, "eos_token_id", None)
        if value is not None:
            return _ids(value)
    raise BadRequest("the checkpoint names no end-of-sequence token (eos_token_id)")


def _value(config: Any, name: str, otherwise: Any) -> Any:
    value = getattr(config, name, None)
    return otherwise if value is None else value


def _ids(ids: Any) -> tuple[int, ...]:
    """Returns one id or several as a tuple, without the negative ones that some checkpoints have as fillers."""
    several = ids if isinstance(ids, list | tuple) else (ids,)
    return tuple(token for token in several if token >= 0)
