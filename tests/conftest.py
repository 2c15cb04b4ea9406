"""Fixtures that more than one folder uses."""

import os

import pytest
import torch

torch.set_num_threads(1)  # tiny models: threads only wait for each other
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # tests never look at a hub
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # also of tests that import onnxruntime before our packages


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
