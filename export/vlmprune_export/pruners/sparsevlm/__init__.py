"""SparseVLM (arXiv 2410.04417): text that matters rates visual tokens; some of those that leave are merged."""

from vlmprune_export.pruners.sparsevlm.method import SparseVlm
from vlmprune_export.pruners.sparsevlm.settings import SparseVlmSettings

__all__ = ["SparseVlm", "SparseVlmSettings"]
