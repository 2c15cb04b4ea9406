"""What the manifest says of a stage, and what it advises."""

from pathlib import Path
from typing import NamedTuple

from vlmprune_export.backends.coreml.cache import Layout
from vlmprune_export.staged import StagedModel
from vlmprune_runtime.schema import Cache, Function, Stage, Tensor

TOKENS = "tokens"


class Placement(NamedTuple):
    """Compute units that a stage should be loaded with, and why. Expected from the graph; measured on no device."""

    units: str
    reason: str


PLACEMENTS = {
    "vision": Placement("CPU_AND_NE", "static fp16 convolution, matrices and layer norms: the Neural Engine takes all"),
    "embed": Placement("CPU_ONLY", "one table lookup: nothing to gain elsewhere"),
    "head": Placement("CPU_AND_GPU", "RMS norms are fp32, which the Neural Engine does not compute"),
    "prune": Placement("CPU_ONLY", "fp32 loop of small steps: selection must not be rounded, and each step waits"),
    "tail": Placement("CPU_AND_GPU", "RMS norms are fp32, which the Neural Engine does not compute"),
}


def describe(
    staged: StagedModel, package: Path, functions: tuple[Function, ...], quantisation: str, layout: Layout | None
) -> Stage:
    """The stage as every engine offers it; how long its functions really are stands in `functions`."""
    name = package.stem
    inputs, outputs = signature(staged, name)
    return Stage(
        file=package.name,
        data=tuple(
            sorted(path.relative_to(package.parent).as_posix() for path in package.rglob("*") if path.is_file())
        ),
        inputs=inputs,
        outputs=outputs,
        cache=None if layout is None else _cache(layout),
        quantisation=quantisation,  # type: ignore[arg-type]
        functions=functions,
        compute_units=PLACEMENTS[name].units,  # type: ignore[arg-type]
        compute_units_reason=PLACEMENTS[name].reason,
    )


def signature(staged: StagedModel, name: str) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Tensors that go in and come out, without padding and leading ones."""
    text, (height, width) = staged.adapter.text_model, staged.adapter.grid
    visual, hidden, keys = height * width, text.hidden_size, text.kv_heads * text.head_dim
    keep = staged.keep
    steps = (_integers("positions", TOKENS), _integers("past_tokens", 1))
    table = {
        "vision": ((_floats("pixels", 1, 3, *staged.adapter.image_size_px),), (_floats("visual", visual, hidden),)),
        "embed": ((_integers("token_ids", TOKENS),), (_floats("embeddings", TOKENS, hidden),)),
        "head": (
            (_floats("embeddings", TOKENS, hidden), *steps),
            (_floats("hidden", TOKENS, hidden), _floats("keys", TOKENS, keys)),
        ),
        "prune": (
            (_floats("hidden", visual, hidden), _floats("keys", visual, keys)),
            (_integers("kept", keep), _floats("fused", keep, hidden), _integers("order", keep)),
        ),
        "tail": ((_floats("hidden", TOKENS, hidden), *steps), (_floats("logits", text.vocab_size),)),
    }
    return table[name]


def _files(package: Path) -> tuple[str, ...]:
    inside = (path for path in package.rglob("*") if path.is_file())
    return tuple(sorted(path.relative_to(package.parent).as_posix() for path in inside))


def _cache(layout: Layout) -> Cache:
    """Rows of the two states, which are (layers, kv_heads, capacity, head_dim)."""
    names = tuple(f"{state}.{row}" for row in range(len(layout.layers)) for state in layout.names)
    return Cache(
        layers=len(layout.layers),
        kv_heads=layout.kv_heads,
        head_dim=layout.head_dim,
        dtype="float16",
        inputs=names,
        outputs=names,
    )


def _floats(name: str, *shape: int | str) -> Tensor:
    return Tensor(name=name, dtype="float32", shape=shape)


def _integers(name: str, *shape: int | str) -> Tensor:
    return Tensor(name=name, dtype="int32", shape=shape)
