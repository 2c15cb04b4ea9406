"""`check_bundle`: the bundle's engine and eager PyTorch side by side, and whether the difference is within limits."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vlmprune_export.adapters import build_adapter
from vlmprune_export.checkpoint import load_checkpoint
from vlmprune_export.parity.generation import Agreement, compare_generation
from vlmprune_export.parity.limits import LIMITS, Limits
from vlmprune_export.parity.stages import Difference, compare_stages
from vlmprune_export.staged import PruneOptions, StagedModel, TorchEngine
from vlmprune_runtime.bundle import OpenBundle, open_bundle
from vlmprune_runtime.engines import load_engine
from vlmprune_runtime.errors import BadRequest, ParityError
from vlmprune_runtime.picture import load_image
from vlmprune_runtime.preprocess import preprocess
from vlmprune_runtime.prompt import encode_prompt, load_tokenizer
from vlmprune_runtime.sample import SAMPLE_IMAGE, SAMPLE_PROMPT
from vlmprune_runtime.schema import Bundle

Progress = Callable[[str], None]


@dataclass(frozen=True)
class CheckRequest:
    """Which bundle, against which checkpoint (None: the one it was made from), on which image and prompt."""

    bundle: Path
    model: str | None = None
    image: Path = SAMPLE_IMAGE
    prompt: str = SAMPLE_PROMPT
    tokens: int = 32
    limits: Limits | None = None


@dataclass(frozen=True)
class CheckReport:
    """What was measured and what was allowed."""

    differences: tuple[Difference, ...]
    agreements: tuple[Agreement, ...]
    limits: Limits

    def failures(self) -> list[ParityError]:
        """Everything past its limit, empty when the bundle is sound."""
        return [*self._stage_failures(), *self._answer_failures()]

    def as_json(self) -> dict[str, Any]:
        """Plain data, as `--json` prints it and `bundle.json` keeps it."""
        failures = [str(failure) for failure in self.failures()]
        return {"passed": not failures, "failures": failures, **asdict(self)}

    def _stage_failures(self) -> list[ParityError]:
        found = []
        for gap in self.differences:
            what = f"{gap.stage}: {gap.output}"
            if gap.equal is False:
                found.append(ParityError(f"{what} is not equal", 1.0, 0.0))
            elif gap.relative > self.limits.relative:
                found.append(ParityError(what, gap.relative, self.limits.relative))
        return found

    def _answer_failures(self) -> list[ParityError]:
        found = []
        for answer in self.agreements:
            if answer.tokens_fraction < self.limits.tokens_fraction:
                found.append(ParityError(f"tokens, {answer.way}", answer.tokens_fraction, self.limits.tokens_fraction))
            if answer.overlap_fraction < self.limits.overlap_fraction:
                found.append(
                    ParityError(f"kept overlap, {answer.way}", answer.overlap_fraction, self.limits.overlap_fraction)
                )
        return found


def check_bundle(request: CheckRequest, *, progress: Progress = lambda line: None) -> CheckReport:
    """Stage by stage on identical inputs, then whole answers pruned and unpruned.

    Errors: `BundleError`, and `BadRequest` when the checkpoint is not the one the bundle was made from.
    """
    progress("opening the bundle")
    bundle = open_bundle(request.bundle)
    manifest = bundle.manifest
    prompt = encode_prompt(load_tokenizer(bundle), manifest.prompt, manifest.pruner.visual_tokens, request.prompt)
    _check_room(manifest, len(prompt.token_ids), request.tokens)
    pixels = preprocess(load_image(request.image), manifest.image)
    reference = _reference(bundle, request.model, progress)
    progress("loading the engine")
    engine = load_engine(bundle)
    progress("comparing stages")
    differences = tuple(compare_stages(reference, engine, prompt, pixels))
    agreements = []
    for prune in (True, False):
        progress(f"comparing answers, {'pruned' if prune else 'unpruned'}")
        agreements.append(compare_generation(reference, engine, prompt, pixels, tokens=request.tokens, prune=prune))
    limits = request.limits or LIMITS[manifest.quantisation]
    return CheckReport(differences, tuple(agreements), limits)


def _reference(bundle: OpenBundle, model: str | None, progress: Progress) -> TorchEngine:
    manifest = bundle.manifest
    checkpoint = load_checkpoint(model or manifest.source.model, progress=progress)
    if manifest.source.sha256 is not None and checkpoint.source.sha256 != manifest.source.sha256:
        raise BadRequest(
            f"{checkpoint.source.model!r} is not the checkpoint that this bundle was made from (other sha256); "
            "give it with --model or export again"
        )
    pruner = manifest.pruner
    options = PruneOptions(pruner.method, pruner.layer, pruner.keep, settings=pruner.settings)
    return TorchEngine(StagedModel(build_adapter(checkpoint.model), options))


def _check_room(manifest: Bundle, prompt_tokens: int, tokens: int) -> None:
    room = manifest.context_tokens - prompt_tokens
    if not 1 <= tokens <= room:
        raise BadRequest(f"tokens: got {tokens}; allowed: 1 to {room} (what the context leaves after the prompt)")
