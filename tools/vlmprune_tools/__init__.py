"""Evaluation of accuracy, reports, and the making of the default model."""

import vlmprune_runtime  # noqa: F401 - switches ONNX Runtime's telemetry off before anything imports it
