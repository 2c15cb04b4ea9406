"""`evaluate`: the whole way from a model and a data set to a record."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.generate import MAX_TOKENS
from vlmprune_tools.evaluation.asking import Asker
from vlmprune_tools.evaluation.data import open_data
from vlmprune_tools.evaluation.interview import ask_all, scores_of
from vlmprune_tools.evaluation.items import Data, Wishes
from vlmprune_tools.evaluation.journal import digest, open_journal
from vlmprune_tools.evaluation.record import Outcome, record_of
from vlmprune_tools.evaluation.subject import Subject, open_subject
from vlmprune_tools.evaluation.variants import Variant, variants_of
from vlmprune_tools.evaluation.ways import BLIND, Way, ways_of

PRUNER_LABELS = ("vlm-pruner", "random", "grid")


@dataclass(frozen=True)
class EvaluationRequest:
    """Which model (a bundle's folder, a checkpoint's, or `pocket`), on which data, pruned how.

    `keeps` empty: the paper's three rates. `layer` None: the bundle's own, or 2. `threads` None: as the engine
    likes. `out` is where the record will be written; answers so far are kept beside it.
    """

    model: str
    data: str = "scenes"
    wishes: Wishes = field(default_factory=Wishes)
    keeps: tuple[int, ...] = ()
    pruners: tuple[str, ...] = PRUNER_LABELS
    settings: Mapping[str, Any] = field(default_factory=dict)
    layer: int | None = None
    max_tokens: int = MAX_TOKENS
    blind: bool = False
    threads: int | None = None
    out: Path | None = None


def evaluate(request: EvaluationRequest, *, progress: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """The record of an evaluation. Errors: `BadRequest` and all that opening a model raises."""
    if request.max_tokens < 1:
        raise BadRequest(f"max_tokens: got {request.max_tokens}; allowed: 1 or more")
    variants = variants_of(request.pruners, request.settings)
    data = open_data(request.data, request.wishes)
    progress("opening the model")
    subject = open_subject(request.model, request.layer, request.threads, progress)
    ways = ways_with_blind(request, data, subject, variants)
    content = fingerprint(request, data, subject, ways)
    journal = open_journal(request.out, digest(content))
    ask_all(Asker(subject, request.max_tokens), data, ways, journal)
    outcome = Outcome(subject, data, ways, journal.said, scores_of(data, ways, journal.said))
    return record_of(outcome, {**content, "sha256": digest(content)}, request.wishes.seed)


def ways_with_blind(
    request: EvaluationRequest, data: Data, subject: Subject, variants: Sequence[Variant]
) -> tuple[Way, ...]:
    """The ways, and the blind one where it is wanted."""
    blind = [Way(BLIND, subject.visual_tokens)] if request.blind or data.blind else []
    return (*ways_of(subject, variants, request.keeps), *blind)


def fingerprint(request: EvaluationRequest, data: Data, subject: Subject, ways: Sequence[Way]) -> dict[str, Any]:
    """All that an answer depends on, so that answers of another request are never taken for this one's.

    The limit is not among it: more questions of the same data continue the same journal.
    """
    identity = subject.identity
    named = {way.name: {"settings": dict(way.settings), "pruned_in": way.pruned_in} for way in ways}
    return {
        "model": identity.sha256 or identity.name,
        "layer": identity.layer,
        "engine": identity.engine,
        "versions": dict(identity.versions),
        "data": {"name": data.name, "sha256": data.sha256, "seed": request.wishes.seed},
        "ways": named,
        "max_tokens": request.max_tokens,
    }
