"""Disables the telemetry of ONNX Runtime.

From 1.29 on, ONNX Runtime writes a device id into the user's cache folder and reports use, unless a
variable forbids it.
"""

import os

VARIABLE = "ORT_DISABLE_TELEMETRY"


def disable_telemetry() -> None:
    """Sets the variable that makes ONNX Runtime report nothing, unless the user has set it.

    ONNX Runtime reads the variable once, when it is imported, so this must run before that import.
    """
    os.environ.setdefault(VARIABLE, "1")
