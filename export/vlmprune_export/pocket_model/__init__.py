"""The default model: put together on first use from weights inside packages plus what we trained.

Letters: N visual tokens, D hidden size, V vocabulary, R rank of the low-rank update.
"""

from vlmprune_export.pocket_model.assembly import pocket_checkpoint

__all__ = ["pocket_checkpoint"]
