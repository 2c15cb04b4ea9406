"""The language model as training sees it: frozen bf16 weights, a low-rank update beside each linear.

Numbers agree with HF's `LlamaModel`; a test holds that.

Linears that read the same input share one A: q, k, v; gate, up.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlmprune_export.pocket.trained import LORA_SCALE

HEADS, KV_HEADS, HEAD, WIDTH, INNER = 9, 3, 64, 576, 1536
GROUPS = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
ROWS = 256  # queries that attention takes at a time
Weights = tuple[Tensor, ...]  # two norms, then per group W, A, B


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """Llama's RMSNorm, computed in fp32."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5) * weight).to(x.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # (B, heads, T, HEAD)
    """Rotary position embedding, in fp32."""
    low, high = x.float().chunk(2, -1)
    return torch.cat([low * cos - high * sin, high * cos + low * sin], -1).to(x.dtype)


def adapted(x: Tensor, weight: Tensor, lora_a: Tensor, lora_b: Tensor) -> Tensor:  # (B * T, in) -> (B * T, out)
    """x (W + B A)^T without forming the sum."""
    return torch.addmm(x @ weight.t(), x @ lora_a.t(), lora_b.t())


def causal_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:  # (B, heads, T, HEAD)
    """Softmax attention under an additive mask (B, 1, T, T), some queries at a time, each over no key after the last.

    Forward and backward take a third of the time of PyTorch's fused CPU kernel, which does not skip what is masked.
    """
    mixed = []
    for start in range(0, query.shape[2], ROWS):
        stop = min(start + ROWS, query.shape[2])
        scores = query[:, :, start:stop] @ key[:, :, :stop].transpose(-1, -2)
        share = (scores.float() * HEAD**-0.5 + mask[:, :, start:stop, :stop]).softmax(-1)
        mixed.append(share.to(value.dtype) @ value[:, :, :stop])
    return torch.cat(mixed, 2)


def decoder_layer(x: Tensor, weights: Weights, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:  # (B, T, D)
    """One Llama layer."""
    norm1, norm2, *linears = weights
    qkv, out, gate_up, down = (linears[at : at + 3] for at in range(0, 12, 3))
    batch, length, _ = x.shape
    x = x.reshape(batch * length, WIDTH)
    heads = adapted(rms_norm(x, norm1), *qkv).view(batch, length, HEADS + 2 * KV_HEADS, HEAD).transpose(1, 2)
    query, key, value = torch.split(heads, [HEADS, KV_HEADS, KV_HEADS], 1)
    query, key = rotate(query, cos, sin), rotate(key, cos, sin)
    key, value = (part.repeat_interleave(HEADS // KV_HEADS, 1) for part in (key, value))
    mixed = causal_attention(query, key, value, mask)
    x = x + adapted(mixed.transpose(1, 2).reshape(batch * length, WIDTH), *out)
    gate, up = adapted(rms_norm(x, norm2), *gate_up).chunk(2, -1)
    return (x + adapted(F.silu(gate) * up, *down)).view(batch, length, WIDTH)


class Decoder(nn.Module):
    """Frozen language model with a trainable low-rank update, named `{layer}_{group}_a` and `_b`."""

    def __init__(self, weights: Mapping[str, Tensor], rank: int = 16, dtype: torch.dtype = torch.bfloat16) -> None:
        """Take over a `LlamaModel`'s state dict; the update starts at zero."""
        super().__init__()
        self.dtype, self.layer = dtype, decoder_layer
        self.embedding = weights["embed_tokens.weight"].to(dtype)
        self.norm = weights["norm.weight"].float()
        count = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("layers."))
        self.frozen = [frozen_layer(weights, f"layers.{index}.", dtype) for index in range(count)]
        self.lora = nn.ParameterDict()
        for index, layer in enumerate(self.frozen):
            for group in GROUPS:
                out, wide = layer[group].shape
                self.lora[f"{index}_{group}_a"] = nn.Parameter(torch.randn(rank, wide) / wide**0.5)
                self.lora[f"{index}_{group}_b"] = nn.Parameter(torch.zeros(out, rank))

    def compile_layers(self) -> None:
        """Let PyTorch's compiler fuse what is not a matrix product; needs a C++ compiler."""
        self.layer = torch.compile(decoder_layer, dynamic=False)

    def weights_of(self, index: int) -> Weights:
        """All that one layer computes with; the update's scale is put into B."""
        frozen, found = self.frozen[index], []
        for group in GROUPS:
            lora_a, lora_b = (self.lora[f"{index}_{group}_{part}"] for part in "ab")
            found += [frozen[group], lora_a.to(self.dtype), (lora_b * LORA_SCALE).to(self.dtype)]
        return frozen["norm1"], frozen["norm2"], *found

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Normalised hidden states (B, T, D) of x (B, T, D), positions (B, T), additive mask (B, 1, T, T)."""
        cos, sin = rotary(positions)
        for index in range(len(self.frozen)):
            x = self.layer(x, self.weights_of(index), cos, sin, mask)
        return rms_norm(x, self.norm)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token."""
        return F.linear(hidden, self.embedding)


def rotary(positions: Tensor) -> tuple[Tensor, Tensor]:  # (B, T) -> 2 x (B, 1, T, HEAD / 2)
    """Cosine and sine in fp32."""
    frequency = 1.0 / 100000.0 ** (torch.arange(0, HEAD, 2).float() / HEAD)
    angle = (positions[..., None].float() * frequency)[:, None]
    return angle.cos(), angle.sin()


def frozen_layer(weights: Mapping[str, Tensor], prefix: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights of one layer; those that read the same input are joined."""
    layer = {
        "norm1": weights[f"{prefix}input_layernorm.weight"].float(),
        "norm2": weights[f"{prefix}post_attention_layernorm.weight"].float(),
    }
    for group, names in GROUPS.items():
        layer[group] = torch.cat([weights[f"{prefix}{name}.weight"] for name in names]).to(dtype)
    return layer
