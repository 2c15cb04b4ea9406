"""ExecuTorch target: one .pte whose methods are the five stages.

Every KV buffer belongs to exactly one method, so the file runs wherever `Module.execute(method, tensors)` runs:
no shared memory arenas, no second weight file, nothing but tensors.
"""

from vlmprune_export.backends.executorch.lower import OPTIONS, QUANTISATIONS, lower, versions
from vlmprune_export.backends.executorch.quantise import FITTED

__all__ = ["FITTED", "OPTIONS", "QUANTISATIONS", "lower", "versions"]
