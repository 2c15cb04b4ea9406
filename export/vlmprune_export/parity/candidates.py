"""Selects the engines that a check compares with PyTorch: for Core ML the reference, and on macOS the device too."""

from collections.abc import Iterator
from dataclasses import dataclass

from vlmprune_runtime.bundle import OpenBundle
from vlmprune_runtime.engines import Engine, load_engine
from vlmprune_runtime.errors import BadRequest, UnknownName

ENGINE = "engine check"
REFERENCE = "MIL reference check, device unverified"
REFERENCE_SHOWS = (
    "graph, weights, serialisation and rounding of the saved packages, which were run operation by operation in numpy; "
    "not Apple's runtime, its compilers or its hardware, and nothing about speed"
)
DEVICE_SHOWS = "what Core ML computes on this Mac; other devices and systems may differ"


@dataclass(frozen=True)
class Candidate:
    """An engine to compare with PyTorch; `half` says that most of it computes in float16."""

    engine: Engine
    method: str
    shows: str | None = None
    half: bool = False


def check_units(target: str, units: str | None) -> None:
    """Raises `BadRequest` or `UnknownName` for compute units that the bundle or this system does not have."""
    if units is None:
        return
    from vlmprune_runtime.engines.coreml import has_core_ml
    from vlmprune_runtime.engines.coreml_native import UNITS

    if target != "coreml":
        raise BadRequest(f"compute units: got {units}; this bundle is for {target}, which has none")
    if units not in UNITS:
        raise UnknownName("compute units", units, UNITS)
    if not has_core_ml():
        raise BadRequest(f"compute units: got {units}; this system has no Core ML, the check runs the MIL reference")


def candidates(bundle: OpenBundle, units: str | None) -> Iterator[Candidate]:
    """Yields the bundle's engine; for Core ML the reference and, on macOS, Core ML itself on those compute units."""
    if bundle.manifest.target != "coreml":
        yield Candidate(load_engine(bundle), ENGINE)
        return
    from vlmprune_runtime.engines.coreml import CoreMLEngine, has_core_ml

    context = bundle.manifest.context_tokens
    reference = CoreMLEngine(bundle, None, context, units="reference")
    yield Candidate(reference, REFERENCE, REFERENCE_SHOWS, reference.computes_half)
    if has_core_ml():
        device = CoreMLEngine(bundle, None, context, units=units)
        yield Candidate(
            device, f"Core ML on {units or 'the advised compute units'}", DEVICE_SHOWS, reference.computes_half
        )
