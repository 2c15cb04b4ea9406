"""One file per model family; a family is where its parts are, not how they compute."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from vlmprune_export.adapters.llava import LlavaAdapter
from vlmprune_runtime.errors import UnknownName
from vlmprune_runtime.schema import TextModel


class Adapter(Protocol):
    """What the stages need of a model family."""

    model: nn.Module
    layers: nn.ModuleList
    norm: nn.Module
    lm_head: nn.Module
    embedding: nn.Embedding
    grid: tuple[int, int]
    image_size_px: tuple[int, int]
    text_model: TextModel
    max_positions: int

    def visual(self, pixels: Tensor) -> Tensor:
        """Projected features of one image, (1, 3, height, width) -> (N, D)."""
        ...

    def rotary(self, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the positions, (1, S, D), (1, S) -> 2 x (1, S, dh)."""
        ...


ADAPTERS: Mapping[str, Callable[[Any], Adapter]] = {"llava": LlavaAdapter}


def build_adapter(model: nn.Module) -> Adapter:
    """The adapter for a loaded model, chosen by its `config.model_type`."""
    model_type = str(model.config.model_type)  # type: ignore[union-attr]
    if model_type not in ADAPTERS:
        raise UnknownName("model type", model_type, ADAPTERS)
    return ADAPTERS[model_type](model)
