"""The default model, which is assembled on first use from weights in packages and the weights that we trained.

Letters: N visual tokens, D hidden size, V vocabulary, R rank of the low-rank update.
"""

from vlmprune_export.pocket_model.assembly import pocket_checkpoint

__all__ = ["pocket_checkpoint"]
