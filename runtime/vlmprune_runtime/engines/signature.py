"""The tensors that every engine's stages take and give, and the check that a manifest says the same."""

from dataclasses import dataclass

from vlmprune_runtime.errors import BundleError
from vlmprune_runtime.schema import MANIFEST, STAGES, Bundle, Stage, Tensor


@dataclass(frozen=True)
class Signature:
    """Tensors of a stage by name: their dimensions, by the letters of `vlmprune_runtime`."""

    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]


SIGNATURES = {
    "vision": Signature({"pixels": (1, 3, "H", "W")}, {"visual": ("N", "D")}),
    "embed": Signature({"token_ids": ("S",)}, {"embeddings": ("S", "D")}),
    "head": Signature(
        {"embeddings": ("S", "D"), "positions": ("S",), "past_tokens": (1,)},
        {"hidden": ("S", "D"), "keys": ("S", "Dk")},
    ),
    "prune": Signature(
        {"hidden": ("N", "D"), "keys": ("N", "Dk")}, {"kept": ("K",), "fused": ("K", "D"), "order": ("K",)}
    ),
    "tail": Signature({"hidden": ("S", "D"), "positions": ("S",), "past_tokens": (1,)}, {"logits": ("V",)}),
}
INTEGERS = {"token_ids", "positions", "past_tokens", "kept", "order"}
ANY_LENGTH = "S"


def check_signatures(bundle: Bundle) -> None:
    """`BundleError` for the first stage whose declared tensors an engine could not feed."""
    known = known_sizes(bundle)
    for name in STAGES:
        signature, stage = SIGNATURES[name], bundle.stage(name)
        _check_side(f"stages.{name}.inputs", signature.inputs, stage.inputs, known, stage)
        _check_side(f"stages.{name}.outputs", signature.outputs, stage.outputs, known, stage)


def known_sizes(bundle: Bundle) -> dict[str, int]:
    """What the letters mean in this bundle, as far as the manifest says."""
    sizes = {"N": bundle.pruner.visual_tokens, "K": bundle.pruner.keep, "D": bundle.text_model.hidden_size}
    seen = bundle.image.seen
    return sizes | ({"H": seen.height_px, "W": seen.width_px} if seen else {})


def _check_side(
    field: str,
    wanted: dict[str, tuple[int | str, ...]],
    declared: tuple[Tensor, ...],
    known: dict[str, int],
    stage: Stage,
) -> None:
    cache = set(stage.cache.inputs + stage.cache.outputs) if stage.cache else set()
    found = {tensor.name: tensor for tensor in declared if tensor.name not in cache}
    if found.keys() != wanted.keys():
        reason = f"got {_listed(found)}, expected {_listed(wanted)}"
        raise BundleError(MANIFEST, reason, field)
    for name, tensor in found.items():
        _check_tensor(f"{field}.{name}", wanted[name], tensor, known)


def _check_tensor(field: str, wanted: tuple[int | str, ...], tensor: Tensor, known: dict[str, int]) -> None:
    kinds = ("int64", "int32") if tensor.name in INTEGERS else ("float32", "float16")
    if tensor.dtype not in kinds:
        raise BundleError(MANIFEST, f"got {tensor.dtype}, expected {' or '.join(kinds)}", f"{field}.dtype")
    sizes = tuple(known.get(size, size) if isinstance(size, str) else size for size in wanted)
    fits = len(sizes) == len(tensor.shape) and all(map(_fits, sizes, tensor.shape))
    if not fits:
        reason = f"got {_shape(tensor.shape)}, expected {_shape(sizes)}"
        raise BundleError(MANIFEST, reason, f"{field}.shape")


def _fits(wanted: int | str, declared: int | str) -> bool:
    if wanted == ANY_LENGTH:
        return isinstance(declared, str)
    return isinstance(wanted, str) or wanted == declared


def _shape(sizes: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, sizes))})"


def _listed(names: dict[str, Tensor] | dict[str, tuple[int | str, ...]]) -> str:
    return ", ".join(ascii(name)[1:-1] for name in sorted(names)) or "none"
