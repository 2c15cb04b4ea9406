"""Loads the default model, with its shipped or with other trained weights."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vlmprune_export.pocket_model import pocket_checkpoint
from vlmprune_export.pocket_model.assembly import pocket_model
from vlmprune_export.pocket_model.weight_packages import LANGUAGE_MODEL, VISION_TOWER, package_file
from vlmprune_runtime.errors import BadRequest, first_line


def load_pocket(trained: Path | None, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """Returns the Hugging Face model and processor, with the trained part of a packed file if one is given."""
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    folder = pocket_checkpoint()
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    if trained is None:
        return LlavaForConditionalGeneration.from_pretrained(folder, dtype=dtype, trust_remote_code=False), processor
    gguf_file, onnx_file = (package_file(part, lambda line: None) for part in (LANGUAGE_MODEL, VISION_TOWER))
    model: Any = pocket_model(gguf_file, onnx_file, packed_tensors(trained))
    return model.half().to(dtype), processor


def packed_tensors(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a packed file. Raises `BadRequest` if it is none."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadRequest(f"{path}: not a file of trained tensors: {first_line(str(error))}") from None
