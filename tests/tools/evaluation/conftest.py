"""A tiny checkpoint, its bundle, and images with questions beside them."""

from pathlib import Path

import numpy as np
import pytest
from asked import QUESTIONS
from PIL import Image

from tiny import write_checkpoint
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.export_bundle import ExportRequest, export_bundle
from vlmprune_tools.evaluation.loaded_model import LoadedModel, load_model


@pytest.fixture(scope="session")
def asked_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("asked") / "checkpoint")


@pytest.fixture(scope="session")
def asked_bundle(asked_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    prune = PruneOptions(keep=8)
    out = tmp_path_factory.mktemp("asked") / "bundle"
    return export_bundle(ExportRequest(out, str(asked_checkpoint), prune=prune, context_tokens=96))


@pytest.fixture(scope="session")
def in_onnx(asked_bundle: Path) -> LoadedModel:
    return load_model(str(asked_bundle), None, None, lambda line: None)


@pytest.fixture(scope="session")
def in_pytorch(asked_checkpoint: Path) -> LoadedModel:
    return load_model(str(asked_checkpoint), None, None, lambda line: None)


@pytest.fixture(scope="session")
def asked_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images of coloured noise and a CSV of twelve questions in two tasks."""
    folder = tmp_path_factory.mktemp("questions")
    rng = np.random.default_rng(5)
    for index in range(4):
        Image.fromarray(rng.integers(0, 256, (60, 60, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    rows = [
        f"{index}.png,{question},word{index}|a,{'counting' if question.startswith('one') else 'seeing'}"
        for question in QUESTIONS
        for index in range(4)
    ]
    (folder / "asked.csv").write_text("\n".join(["image,question,answer,task", *rows]) + "\n")
    return folder
