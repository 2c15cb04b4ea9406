"""The staged model in eager PyTorch: the reference that every exported bundle is held against."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vlmprune_export.adapters import Adapter
from vlmprune_export.attention import TorchCache
from vlmprune_export.pruners import build_pruner
from vlmprune_export.stages import EmbedStage, HeadStage, TailStage, VisionStage
from vlmprune_runtime.errors import BadRequest

DEFAULT_RATE = 0.889  # 64 of 576, the paper's hardest setting


@dataclass(frozen=True)
class PruneOptions:
    """Which pruner, before which decoder layer, how many visual tokens stay, and the method's own settings."""

    method: str = "vlm-pruner"
    layer: int = 2
    keep: int | None = None
    rate: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def keep_of(self, visual_tokens: int) -> int:
        """K, from `keep` or as round(N * (1 - rate)); 88.9 % of 576 is 64.

        >>> PruneOptions(rate=0.889).keep_of(576)
        64
        """
        if self.keep is not None and self.rate is not None:
            raise BadRequest("give keep or rate, not both")
        if self.rate is not None and not 0 <= self.rate < 1:
            raise BadRequest(f"rate: got {self.rate}; allowed: 0 <= rate < 1")
        rate = DEFAULT_RATE if self.rate is None else self.rate
        keep = self.keep if self.keep is not None else round(visual_tokens * (1 - rate))
        if not 1 <= keep <= visual_tokens:
            raise BadRequest(f"keep: got {keep}; allowed: 1 to {visual_tokens} (the image's visual tokens)")
        return keep


class StagedModel:
    """A model cut into its five stages."""

    def __init__(self, adapter: Adapter, options: PruneOptions) -> None:
        layers = len(adapter.layers)
        if not 1 <= options.layer < layers:
            raise BadRequest(f"layer: got {options.layer}; allowed: 1 to {layers - 1} (of {layers} decoder layers)")
        height, width = adapter.grid
        self.adapter, self.options = adapter, options
        self.keep = options.keep_of(height * width)
        self.vision, self.embed = VisionStage(adapter), EmbedStage(adapter)
        self.head, self.tail = HeadStage(adapter, options.layer), TailStage(adapter, options.layer)
        self.prune = build_pruner(options.method, grid=adapter.grid, keep=self.keep, settings=options.settings)

    def pruner_settings(self) -> dict[str, Any]:
        """Every setting of the pruner, defaults included."""
        return asdict(self.prune.settings)

    def modules(self) -> dict[str, nn.Module]:
        """The stages by name."""
        return {
            "vision": self.vision,
            "embed": self.embed,
            "head": self.head,
            "prune": self.prune,
            "tail": self.tail,
        }


class TorchEngine:
    """Runs the stages in eager PyTorch behind the interface of the runtime's engines."""

    def __init__(self, staged: StagedModel) -> None:
        self.staged = staged
        self._caches: dict[str, TorchCache] = {}

    @torch.inference_mode()
    def run(self, stage: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs of one stage by name; see `vlmprune_runtime.engines`."""
        tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()}
        outputs = getattr(self, f"_{stage}")(**tensors)
        return {name: value.numpy() for name, value in outputs.items()}

    def cached(self, stage: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Keys and values of a stage so far, each (layers, kv_heads, tokens, head_dim)."""
        layers = self._caches[stage].layers
        keys, values = (torch.cat([layers[index][side] for index in sorted(layers)]).numpy() for side in (0, 1))
        return keys, values

    def _vision(self, pixels: Tensor) -> dict[str, Tensor]:
        return {"visual": self.staged.vision(pixels)}

    def _embed(self, token_ids: Tensor) -> dict[str, Tensor]:
        return {"embeddings": self.staged.embed(token_ids)}

    def _head(self, embeddings: Tensor, positions: Tensor, past_tokens: Tensor) -> dict[str, Tensor]:
        hidden, keys = self.staged.head(embeddings, positions, self._cache("head", past_tokens))
        return {"hidden": hidden, "keys": keys}

    def _prune(self, hidden: Tensor, keys: Tensor) -> dict[str, Tensor]:
        kept, fused, order = self.staged.prune(hidden, keys)
        return {"kept": kept, "fused": fused, "order": order}

    def _tail(self, hidden: Tensor, positions: Tensor, past_tokens: Tensor) -> dict[str, Tensor]:
        return {"logits": self.staged.tail(hidden, positions, self._cache("tail", past_tokens))}

    def _cache(self, stage: str, past_tokens: Tensor) -> TorchCache:
        past = int(past_tokens[0])
        self._caches[stage] = TorchCache(past, self._caches.get(stage) if past else None)
        return self._caches[stage]
