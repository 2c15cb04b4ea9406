"""How attention falls with distance in a rotary embedding, by which SparseVLM's second version divides it."""

import torch
from torch import Tensor

from vlmprune_export.pruners.site import ModelParts
from vlmprune_runtime.errors import BadRequest


def attention_by_distance(parts: ModelParts, any_distance: bool) -> Tensor:  # -> (P,)
    """Returns the rotary product of two vectors of ones at every distance that a sequence may have.

    Raises `BadRequest` where it is not positive, unless any distance is accepted: the correction has no meaning there.
    """
    if parts.rope is None:
        raise BadRequest("plus is true; allowed: false for a model without rotary positions on one axis")
    cosines = parts.rope(torch.arange(parts.positions))
    decay: Tensor = cosines.sum(1) * cosines.shape[1] ** -0.5
    if not any_distance and bool((decay <= 0).any()):
        first = int((decay <= 0).float().argmax())
        raise BadRequest(
            f"plus is true; with this model's rotary embedding it is sound up to {first} positions, the sequence may "
            f"have {parts.positions}; allowed: plus=false, or a shorter --context"
        )
    return decay
