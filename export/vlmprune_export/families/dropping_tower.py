"""A vision tower in which tokens are dropped between two layers, so that the later layers run on fewer of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vlmprune_export.families.tower import Tower
from vlmprune_runtime.errors import BadRequest

Select = Callable[[Tensor], Tensor]
"""Takes the raw keys of the patches, the mean over heads (N, dh), and returns those that stay (K,), ascending."""


class DroppingTower(nn.Module):
    """Tower and projector; Hugging Face's layers run as they are, and the input of one of them is shortened.

    A layer's MLP works on each token by itself, so that dropping tokens behind it gives the others the same rows as
    dropping them before it, where published code does. Rows before the patches, as of the CLS token, always stay.
    """

    def __init__(self, model: nn.Module, tower: Tower, feature_layers: tuple[int, ...]) -> None:
        """`feature_layers` are the hidden states that the projector takes side by side, counted as `Tower` does."""
        super().__init__()
        self.model, self.projector = model, tower.projector
        self.heads, self.prefix = tower.heads, int(tower.has_cls)
        self.layers = len(tower.layers)
        self.feature_layers = tuple(layer % (self.layers + 1) for layer in feature_layers)

    def layer_behind(self, fraction: float) -> int:
        """Returns the layer behind which tokens are dropped, a fraction of the tower, but before the features' last.

        Raises `BadRequest` for a tower of which the features take one layer or none.
        """
        if self.feature_layers[-1] < 2:
            raise BadRequest("the features come from the tower's first layer; allowed: a tower of two layers or more")
        return min(int(self.layers * fraction + 1e-6), self.feature_layers[-1] - 2)

    def forward(self, pixels: Tensor, layer: int, select: Select) -> tuple[Tensor, Tensor]:  # -> (K, D), (K,)
        """Returns the visual embeddings of the tokens that stay, and which they are; dropped behind `layer`."""
        with self._dropping(layer, select) as caught:
            self.model(pixels)
        kept, states = caught["kept"], caught["states"]
        rows = [
            states[place] if place > layer + 1 else self._remaining(states[place], kept)
            for place in self.feature_layers
        ]
        features: Tensor = self.projector(torch.cat([one[:, self.prefix :] for one in rows], -1))
        return features[0], kept

    @contextmanager
    def _dropping(self, layer: int, select: Select) -> Iterator[dict[str, Any]]:
        """Within, the layer behind `layer` gets the tokens that stay; hidden states and `kept` are noted."""
        encoder: Any = self.model.encoder
        layers = encoder.layers if hasattr(encoder, "layers") else encoder.layer
        caught: dict[str, Any] = {"states": {}}
        projections = next(module for module in layers[layer].modules() if hasattr(module, "q_proj"))

        def shorten(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            keys = projections.k_proj(caught["input"])
            by_head = keys.view(keys.shape[1], self.heads, -1).mean(1)
            caught["kept"] = select(by_head[self.prefix :])
            return (self._remaining(given[0], caught["kept"]), *given[1:])

        def noting(place: int) -> Callable[..., None]:
            def note(_: nn.Module, given: tuple[Tensor, ...], made: Any) -> None:
                caught["states"][place] = made[0] if isinstance(made, tuple) else made

            return note

        hooks = [one.register_forward_hook(noting(place)) for place, one in enumerate(layers, start=1)]
        hooks.append(layers[0].register_forward_pre_hook(lambda _, given: caught["states"].update({0: given[0]})))
        hooks.append(projections.q_proj.register_forward_pre_hook(lambda _, given: caught.update(input=given[0])))
        hooks.append(layers[layer + 1].register_forward_pre_hook(shorten))
        hooks += [one.register_forward_pre_hook(_unmasked, with_kwargs=True) for one in layers[layer + 1 :]]
        try:
            yield caught
        finally:
            for hook in hooks:
                hook.remove()

    def _remaining(self, rows: Tensor, kept: Tensor) -> Tensor:  # (1, R, D), (K,) -> (1, K and the prefix, D)
        return rows.index_select(1, torch.cat([torch.arange(self.prefix), kept + self.prefix]))


def _unmasked(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Takes the mask away, which lets every token see all others but has the length of the whole image."""
    masks = {name: None for name in named if name == "attention_mask"}
    return (given[0], *(None for _ in given[1:])), named | masks
