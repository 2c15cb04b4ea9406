"""The projector as it is trained."""

import torch.nn.functional as F
from torch import Tensor, nn


class Projector(nn.Module):
    """HF's `LlavaMultiModalProjector`: two linears with a GELU between."""

    def __init__(self, features: int = 768, width: int = 576) -> None:
        """`features` wide in, `width` wide out."""
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(features, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(.., F) -> (.., D)."""
        projected: Tensor = self.linear_2(F.gelu(self.linear_1(x)))
        return projected
