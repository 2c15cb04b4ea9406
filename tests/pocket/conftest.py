"""The assembled model, once per session."""

from pathlib import Path
from typing import Any

import pytest

from vlmprune_export.pocket_model import pocket_checkpoint
from vlmprune_runtime.errors import VlmPruneError


@pytest.fixture(scope="session")
def pocket_folder() -> Path:
    try:
        return pocket_checkpoint()
    except VlmPruneError as error:
        pytest.skip(f"needs the pocket model's packages: {error}")


@pytest.fixture(scope="session")
def pocket(pocket_folder: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(pocket_folder, dtype=torch.float32).eval()
    return model, AutoProcessor.from_pretrained(pocket_folder)
