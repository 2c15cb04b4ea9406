"""Evaluation of accuracy, its synthetic images, reports, and the accuracy of the default model."""

import vlmprune_runtime  # noqa: F401 - switches ONNX Runtime's telemetry off before anything imports it
