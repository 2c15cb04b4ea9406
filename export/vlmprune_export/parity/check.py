"""`check_bundle`: the bundle's engine and eager PyTorch side by side, and whether the difference is within limits."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from vlmprune_export.adapters import build_adapter
from vlmprune_export.checkpoint import load_checkpoint
from vlmprune_export.parity.engines import ENGINE, candidates, check_units
from vlmprune_export.parity.generation import Agreement, compare_generation
from vlmprune_export.parity.limits import Limits, limits_for
from vlmprune_export.parity.stages import Difference, compare_stages
from vlmprune_export.staged import PruneOptions, StagedModel, TorchEngine
from vlmprune_runtime.bundle import OpenBundle, open_bundle
from vlmprune_runtime.engines import Engine
from vlmprune_runtime.errors import BadRequest, ParityError
from vlmprune_runtime.picture import load_image
from vlmprune_runtime.preprocess import preprocess
from vlmprune_runtime.prompt import EncodedPrompt, encode_prompt, load_tokenizer
from vlmprune_runtime.sample import SAMPLE_IMAGE, SAMPLE_PROMPT
from vlmprune_runtime.schema import Bundle

Progress = Callable[[str], None]


@dataclass(frozen=True)
class CheckRequest:
    """Which bundle, against which checkpoint (None: the one it was made from), on which image and prompt.

    `compute_units` are Core ML's, for a coreml bundle on macOS; None takes those that the bundle advises.
    """

    bundle: Path
    model: str | None = None
    image: Path = SAMPLE_IMAGE
    prompt: str = SAMPLE_PROMPT
    tokens: int = 32
    limits: Limits | None = None
    compute_units: str | None = None


@dataclass(frozen=True)
class CheckReport:
    """What was measured and what was allowed, by which method and what that shows.

    `device` is the same for Core ML itself, where this is the reference's and the system has Core ML.
    """

    differences: tuple[Difference, ...]
    agreements: tuple[Agreement, ...]
    limits: Limits
    method: str = ENGINE
    shows: str | None = None
    device: "CheckReport | None" = None

    def failures(self) -> list[ParityError]:
        """Everything past its limit, empty when the bundle is sound."""
        return [*self._stage_failures(), *self._answer_failures(), *(self.device.failures() if self.device else ())]

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
    check_units(manifest.target, request.compute_units)
    prompt = encode_prompt(load_tokenizer(bundle), manifest.prompt, manifest.pruner.visual_tokens, request.prompt)
    _check_room(manifest, len(prompt.token_ids), request.tokens)
    pixels = preprocess(load_image(request.image), manifest.image)
    question = _Question(_reference(bundle, request.model, progress), prompt, pixels)
    limits = {half: request.limits or limits_for(manifest.quantisation, half=half) for half in (False, True)}
    progress("loading the engine")
    reports = []
    for candidate in candidates(bundle, request.compute_units):
        found = _compared(question, candidate.engine, request.tokens, progress)
        reports.append(CheckReport(*found, limits[candidate.half], candidate.method, candidate.shows))
    return replace(reports[0], device=reports[1]) if len(reports) > 1 else reports[0]


@dataclass(frozen=True)
class _Question:
    """What every engine is asked, and the reference it is held against."""

    reference: TorchEngine
    prompt: EncodedPrompt
    pixels: npt.NDArray[Any]


def _compared(
    question: _Question, engine: Engine, tokens: int, progress: Progress
) -> tuple[tuple[Difference, ...], tuple[Agreement, ...]]:
    asked = (question.reference, engine, question.prompt, question.pixels)
    progress("comparing stages")
    differences = tuple(compare_stages(*asked))
    agreements = []
    for prune in (True, False):
        progress(f"comparing answers, {'pruned' if prune else 'unpruned'}")
        agreements.append(compare_generation(*asked, tokens=tokens, prune=prune))
    return differences, tuple(agreements)


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
