"""What a pruner may read of a vision tower, caught while Hugging Face's own modules run.

Attention is computed again for the rows that are asked for, from the input of the layer's projections: the tower's own
attention stays fused, and no matrix of all pairs and heads ever exists.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vlmprune_runtime.errors import BadRequest


class Tower:
    """A stack of layers whose attention has `q_proj` and `k_proj`, such as CLIP, SigLIP and DINOv2.

    `feature_layer` counts hidden states like Hugging Face: 0 is the embedding of patches, -1 the last layer's output.
    `join` makes a row for every visual token of a row for every patch, where the projector joins patches.
    """

    def __init__(
        self,
        tower: nn.Module,
        projector: nn.Module,
        feature_layer: int,
        *,
        has_cls: bool,
        join: Callable[[Tensor], Tensor] = lambda rows: rows,
    ) -> None:
        config: Any = tower.config
        encoder: Any = tower.encoder
        self.layers: nn.ModuleList = encoder.layers if hasattr(encoder, "layers") else encoder.layer
        self.heads, self.width = int(config.num_attention_heads), int(config.hidden_size)
        self.projector, self.has_cls = projector, has_cls
        self.feature_layer, self.join = feature_layer, join

    def widths(self, features: int) -> dict[str, tuple[int, ...]]:
        """Returns the shape of a row of each tensor; `features` is the width of the rows that the projector takes."""
        return {
            "tower_hidden": (features,),
            "tower_keys": (self.width // self.heads,),
            "tower_attention": (),
            "tower_last_keys": (self.width,),
            "tower_last_attention": (),
            "tower_late": (self.width,),
        }

    def read(self, run: Callable[[], Tensor], names: Sequence[str]) -> tuple[Tensor, ...]:  # -> (N, D), (N, ...)
        """Returns the visual embeddings that `run` gives, and the tensors of those names, a row for each of them.

        Raises `BadRequest` for a tower whose features are those of the patches before any layer.
        """
        with self._catching() as caught:
            features = run()
        tokens = features.shape[0]
        functions: dict[str, Callable[[], Tensor]] = {
            "tower_hidden": lambda: caught["features"][0],
            "tower_keys": lambda: self.join(self._keys(caught["input"]).mean(0))[-tokens:],
            "tower_attention": lambda: self.join(self._attention(caught["input"])[:, None])[-tokens:, 0],
            "tower_last_keys": lambda: self.join(self._last_keys(caught["last_input"])[0])[-tokens:],
            "tower_last_attention": lambda: self.join(self._last_attention(caught["last_input"])[:, None])[-tokens:, 0],
            "tower_late": lambda: self.join(torch.stack(caught["states"]).mean(0)[0])[-tokens:],
        }
        return features, *(functions[name]() for name in names)

    @contextmanager
    def _catching(self) -> Iterator[dict[str, Any]]:
        """Within, what the layers and the projector take and give is noted."""
        caught: dict[str, Any] = {"states": []}
        features, last = (self._projections(place) for place in (self._feature_place(), len(self.layers) - 1))
        hooks = [
            features.q_proj.register_forward_pre_hook(lambda _, given: caught.update(input=given[0])),
            last.q_proj.register_forward_pre_hook(lambda _, given: caught.update(last_input=given[0])),
            self.projector.register_forward_pre_hook(lambda _, given: caught.update(features=given[0])),
        ]
        first = len(self.layers) - len(self.layers) // 3
        for layer in self.layers[max(first - 1, 0) :]:
            hooks.append(layer.register_forward_hook(lambda _, given, made: caught["states"].append(_first(made))))
        try:
            yield caught
        finally:
            for hook in hooks:
                hook.remove()

    def _feature_place(self) -> int:
        """Returns the place of the layer that the features come from."""
        place = self.feature_layer - 1 if self.feature_layer > 0 else len(self.layers) + self.feature_layer
        if self.feature_layer == 0 or not 0 <= place < len(self.layers):
            raise BadRequest(
                f"vision_feature_layer is {self.feature_layer}; a pruner that reads the tower's attention needs the "
                "output of one of its layers"
            )
        return place

    def _projections(self, place: int) -> Any:
        return next(module for module in self.layers[place].modules() if hasattr(module, "q_proj"))

    def _keys(self, rows: Tensor) -> Tensor:  # (1, R, D) -> (H, R, dh)
        return _split(self._projections(self._feature_place()).k_proj(rows), self.heads)

    def _last_keys(self, rows: Tensor) -> Tensor:  # (1, R, D) -> (1, R, D)
        keys: Tensor = self._projections(len(self.layers) - 1).k_proj(rows)
        return keys

    def _attention(self, rows: Tensor) -> Tensor:  # (1, R, D) -> (R,)
        """Returns the attention that every row is paid in the layer of the features, as the mean over heads."""
        projections = self._projections(self._feature_place())
        return _paid(projections.q_proj(self._asking(rows)), projections.k_proj(rows), self.heads)

    def _last_attention(self, rows: Tensor) -> Tensor:  # (1, R, D) -> (R,)
        """Returns the attention that every row is paid in the last layer, all channels as one head."""
        projections = self._projections(len(self.layers) - 1)
        return _paid(projections.q_proj(self._asking(rows)), projections.k_proj(rows), 1)

    def _asking(self, rows: Tensor) -> Tensor:  # (1, R, D) -> (1, 1 or R, D)
        """Returns the CLS token, or all rows of a tower without it."""
        return rows[:, :1] if self.has_cls else rows


def _paid(queries: Tensor, keys: Tensor, heads: int) -> Tensor:  # (1, Q, D), (1, R, D) -> (R,)
    """Returns the attention that every row is paid, the mean over queries and heads; one head at a time."""
    by_head = _split(queries, heads) * (keys.shape[2] // heads) ** -0.5
    rows = _split(keys, heads)
    paid = [torch.bmm(by_head[h : h + 1], rows[h : h + 1].mT).softmax(-1).mean((0, 1)) for h in range(heads)]
    return torch.stack(paid).mean(0)


def _split(rows: Tensor, heads: int) -> Tensor:  # (1, R, H * dh) -> (H, R, dh)
    return rows.view(rows.shape[1], heads, -1).transpose(0, 1)


def _first(made: Any) -> Tensor:
    hidden: Tensor = made[0] if isinstance(made, tuple) else made
    return hidden
