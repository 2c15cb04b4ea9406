"""Is the torch-free runtime: it reads a bundle, prepares image and prompt, runs an engine, and times every stage.

Letters used in shapes, here and in `vlmprune_export`:
N visual tokens of one image, K kept visual tokens, S tokens in one call, C cache capacity in tokens,
D hidden width, Dk width of all key heads side by side, V vocabulary, L first pruned decoder layer.
"""

from vlmprune_runtime.telemetry import disable_telemetry

__version__ = "0.1.0.dev0"

disable_telemetry()  # here, so that it precedes every import of onnxruntime by this package and those on top of it
