"""ONNX Runtime sessions beside the engine's: all of one process share its thread pool."""

import onnxruntime

from vlmprune_runtime.engines.onnx import share_thread_pool


def session_of(graph: bytes) -> onnxruntime.InferenceSession:
    """A session of a serialised graph on the CPU."""
    share_thread_pool(None)
    options = onnxruntime.SessionOptions()
    options.use_per_session_threads = False
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
