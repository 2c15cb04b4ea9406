"""ONNX Runtime, from 1.29 on, writes a device id under the user's cache folder and reports use, unless told not to."""

import os

VARIABLE = "ORT_DISABLE_TELEMETRY"


def disable_telemetry() -> None:
    """Tells ONNX Runtime to report nothing, unless the user has set the variable.

    It reads the variable once, when it is imported, hence long before the first session.
    """
    os.environ.setdefault(VARIABLE, "1")
