"""Fixtures that more than one folder uses."""

import os

import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)  # tiny models: threads only wait for each other
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # tests never look at a hub
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # also of tests that import onnxruntime before our packages

# How long an example takes depends on what else the machine does.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
