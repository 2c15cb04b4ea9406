"""Loads a Hugging Face checkpoint, whole, in fp32, or says in one line why not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vlmprune_export.checkpoint.completeness import check_complete, check_described_size, check_float_weights
from vlmprune_export.checkpoint.dequantisation import Format, format_of
from vlmprune_export.checkpoint.file_checks import read_json
from vlmprune_export.checkpoint.image_text_processor import load_processor
from vlmprune_export.checkpoint.lora import merge_adapter
from vlmprune_export.checkpoint.memory_check import LOADED, MemoryNeed, check_memory, count_weights
from vlmprune_export.checkpoint.model_type import check_model_type
from vlmprune_export.checkpoint.origin import Origin, origin_of
from vlmprune_export.checkpoint.parts import Parts, fetched, parts_of
from vlmprune_export.pocket_model import pocket_checkpoint
from vlmprune_export.quiet_libraries import quiet
from vlmprune_runtime.errors import BadRequest, VlmPruneError, first_line, short_repr
from vlmprune_runtime.progress import Report, part_of
from vlmprune_runtime.schema import Source

POCKET = "pocket"
_ALL_KINDS = " Should contain one of"  # behind this, transformers' message lists hundreds of model types
_OWN_CODE = "trust_remote_code"  # as transformers' message names it
_PICKLED_CODE = "Weights only load failed"  # so begins PyTorch's message, which goes on with how to load unsafely


@dataclass(frozen=True)
class Checkpoint:
    """A model with the processor that belongs to it."""

    name: str
    model: nn.Module
    processor: Any
    source: Source


def load_checkpoint(model: str, *, progress: Report, need: MemoryNeed | None = LOADED) -> Checkpoint:
    """Loads the checkpoint of that name: `pocket`, a local folder, a hub id, or a hub's address of it.

    `need` is the memory that the caller's work with it takes, and what does not fit is not loaded; with None that is
    not looked at.

    Raises `BadRequest` when it is no checkpoint, is not whole or is of no known family.
    """
    origin = _pocket(progress) if model == POCKET else origin_of(model)
    progress("reading the checkpoint")
    report = part_of("reading the checkpoint", progress)
    try:
        with quiet(report=report):
            parts = parts_of(origin.folder or fetched(origin.model, origin.revision))
            loaded, processor = _load(model, parts, need)
    except (VlmPruneError, MemoryError):
        raise
    except Exception as cause:  # the libraries' readers raise nearly any exception for files that are wrong
        raise BadRequest(f"{short_repr(model)} cannot be loaded as a checkpoint: {_reason(cause)}") from cause
    revision = origin.revision if origin.folder else parts.base.name
    return Checkpoint(
        origin.name, loaded, processor, Source(model=origin.model, revision=revision, sha256=parts.digest(report))
    )


def _pocket(progress: Report) -> Origin:
    return Origin(POCKET, POCKET, None, pocket_checkpoint(progress=progress))


def _load(name: str, parts: Parts, need: MemoryNeed | None) -> tuple[nn.Module, Any]:
    config = read_json(parts.base / "config.json")
    check_model_type(name, config)
    if need is not None:
        check_memory(name, parts.base, config, need)
    quantised = format_of(name, config)
    if quantised:
        quantised.check(name, parts.base)
    model = _model(name, parts, config, quantised)
    if parts.adapter:
        merge_adapter(model, parts.adapter)
    return model.eval(), load_processor(parts.processor, model.config)


def _model(name: str, parts: Parts, raw: Mapping[str, Any], quantised: Format | None) -> nn.Module:
    from transformers import AutoConfig, AutoModelForImageTextToText

    config: Any = AutoConfig.from_pretrained(parts.base, trust_remote_code=False)
    if quantised and isinstance(getattr(config, "quantization_config", None), dict):
        config.quantization_config |= quantised.config
    if quantised is None:
        check_float_weights(name, parts.base)
        check_described_size(name, config, count_weights(parts.base, raw))
    # The adapter is merged here, with or without PEFT; a subfolder that no checkpoint has keeps PEFT from finding it.
    loaded: Any = AutoModelForImageTextToText.from_pretrained(
        parts.base, config=config, dtype=torch.float32, attn_implementation="sdpa", output_loading_info=True,
        ignore_mismatched_sizes=True, trust_remote_code=False, adapter_kwargs={"subfolder": "no-adapter"},
    )  # fmt: skip
    model, info = loaded
    check_complete(name, info, [key for key, _ in model.named_parameters()])
    return quantised.plain(model) if quantised else model


def _reason(cause: BaseException) -> str:
    if _OWN_CODE in str(cause):
        return "it needs Python code of its own, and code from a checkpoint is never run"
    if _PICKLED_CODE in str(cause):
        return "its pickled weights hold more than tensors, which may run code; allowed: tensors"
    if isinstance(cause, KeyError) and cause.args:
        return f"its settings name {short_repr(cause.args[0])}, which transformers does not know"
    line = first_line(cause)
    return line.split(_ALL_KINDS)[0] if _ALL_KINDS in line else line
