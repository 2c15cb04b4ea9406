"""An independent oracle of a pruned model: Hugging Face's own forward over the full length.

From layer L on, the columns of dropped tokens are masked out and the kept rows hold the fused states; nothing is
gathered, so positions cannot go wrong.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def masked_logits(
    model: Any,
    token_ids: Tensor,
    pixels: Tensor,
    layer: int,
    kept: Tensor,
    fused: Tensor,
    prefix: int = 0,
    **inputs: Any,
) -> Tensor:  # (S,), (1, 3, h, w), L, (K,), (K, D) -> (V,)
    """Logits of the last token; the first `prefix` visual tokens always stay, and `kept` counts behind them.

    Visual tokens of several images are counted on. `inputs` are others that the model takes.
    """
    visual = (token_ids == model.config.image_token_id).nonzero()[:, 0]
    stays = torch.ones(len(token_ids), dtype=torch.bool)
    stays[visual] = False
    stays[visual[:prefix]] = True
    places = visual[kept + prefix]
    stays[places] = True
    with _pruned_from(model, layer, places, fused, stays), torch.no_grad():
        logits: Tensor = model(input_ids=token_ids[None], pixel_values=pixels, use_cache=False, **inputs).logits
    return logits[0, -1]


@contextmanager
def _pruned_from(model: Any, layer: int, places: Tensor, fused: Tensor, stays: Tensor) -> Iterator[None]:
    length = len(stays)
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    mask = (causal & stays[None, :]) | torch.eye(length, dtype=torch.bool)  # a dropped row may see itself

    def put_fused(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        hidden = args[0].clone()
        hidden[0, places] = fused
        return (hidden, *args[1:]), kwargs

    def put_mask(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        return args, {**kwargs, "attention_mask": mask[None, None]}

    decoder: Any = getattr(model.model, "language_model", None) or model.model.text_model
    layers = decoder.layers
    hooks = [layers[layer].register_forward_pre_hook(put_fused, with_kwargs=True)]
    hooks += [later.register_forward_pre_hook(put_mask, with_kwargs=True) for later in layers[layer:]]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
