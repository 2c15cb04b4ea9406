"""Answers a question about an image as a stream of events."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from time import perf_counter

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from vlmprune_runtime.bundle import OpenBundle, open_bundle
from vlmprune_runtime.detokenize import TextStream
from vlmprune_runtime.engines import Engine, check_context, load_engine
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.events import (
    Finished,
    Pruned,
    Reason,
    RunEvent,
    RunResult,
    StageTimed,
    TextPiece,
    Timings,
)
from vlmprune_runtime.image_loading import ImageSource, load_image
from vlmprune_runtime.prefill import State, decode, ms_since, prefill_steps
from vlmprune_runtime.preprocess import preprocess
from vlmprune_runtime.prompt import EncodedPrompt, encode_prompt, load_tokenizer
from vlmprune_runtime.sampling import AS_EXPORTED, Sampling, TokenChooser
from vlmprune_runtime.schema import Pipeline

MAX_TOKENS = 32


@dataclass(frozen=True)
class Request:
    """One question about an image or several; `prune=False` asks the unpruned model on the same weights.

    Several images are given in the order of their places in the prompt. `max_tokens` None is the bundle's own limit,
    or 32 where it has none; `sampling` overrides the bundle's settings.
    """

    image: ImageSource | Sequence[ImageSource]
    prompt: str
    prune: bool = True
    max_tokens: int | None = None
    sampling: Sampling = AS_EXPORTED

    def __post_init__(self) -> None:
        """Raises `BadRequest` for an answer of no tokens."""
        if self.max_tokens is not None and self.max_tokens < 1:
            raise BadRequest(f"max_tokens: got {self.max_tokens}, allowed: 1 or more")

    @property
    def images(self) -> tuple[ImageSource, ...]:
        """The images of the request as a tuple, also for a single image."""
        if isinstance(self.image, Sequence) and not isinstance(self.image, str):
            return tuple(self.image)
        return (self.image,)


@dataclass
class _Record:
    """Holds the times that a run has measured so far."""

    start: float = field(default_factory=perf_counter)
    stages: list[StageTimed] = field(default_factory=list)
    ttft_ms: float = 0.0
    decode_ms: list[float] = field(default_factory=list)

    def timings(self) -> Timings:
        return Timings(tuple(self.stages), self.ttft_ms, tuple(self.decode_ms))


class Runner:
    """A bundle with its engine and tokenizer; one answer at a time, for the caches are the engine's."""

    def __init__(
        self, bundle: OpenBundle, engine: Engine, tokenizer: Tokenizer, context_tokens: int | None = None
    ) -> None:
        """Put the parts together; `open_runner` does it from a folder."""
        self.bundle, self.engine, self.tokenizer = bundle, engine, tokenizer
        self.context_tokens = check_context(bundle, context_tokens)
        self._turn: _Record | None = None

    def stream(self, request: Request) -> Iterator[RunEvent]:
        """Yields the events of an answer: stages as they have run, the kept tokens, text, and `Finished` at the end."""
        record = self._turn = _Record()
        encoded, pixels = self._prepare(request)
        record.stages.append(StageTimed("preprocess", ms_since(record.start)))
        yield record.stages[0]
        steps = prefill_steps(self.bundle.manifest, self.engine, encoded, pixels, prune=request.prune)
        state = yield from _record_steps(steps, record)
        pruned = pruned_images(self.bundle.manifest, state)
        yield from pruned
        writer = TextStream(self.tokenizer)
        chooser = self.chooser(request, encoded)
        reason = yield from self._decode(chooser, state, writer, record)
        tokens, prompt_tokens = tuple(writer.token_ids), len(encoded.token_ids)
        result = RunResult(writer.text, tokens, reason, prompt_tokens, pruned, record.timings())
        yield Finished(result)

    def answer(self, request: Request) -> RunResult:
        """Returns the result of an answer, without the events before it."""
        *_, last = self.stream(request)
        assert isinstance(last, Finished)
        return last.result

    def encode(self, prompt: str, images: int = 1) -> EncodedPrompt:
        """Returns the question as token ids. Raises `BadRequest` if it or so many images have no place."""
        manifest = self.bundle.manifest
        encoded = encode_prompt(self.tokenizer, manifest.prompt, manifest.view_tokens, prompt, images=images)
        tokens, room = len(encoded.token_ids), self.context_tokens
        if tokens > room:
            pictures = "image" if images == 1 else f"{images} images"
            raise BadRequest(f"the prompt takes {tokens} tokens with its {pictures}, the context has {room}")
        return encoded

    def chooser(self, request: Request, encoded: EncodedPrompt) -> TokenChooser:
        """Returns the chooser of an answer's tokens, which knows the limit of their number."""
        settings = request.sampling.applied(self.bundle.manifest.generation)
        limit = request.max_tokens or settings.limit(len(encoded.token_ids), otherwise=MAX_TOKENS)
        return TokenChooser(settings, encoded.token_ids, limit, request.sampling.seed)

    def _prepare(self, request: Request) -> tuple[EncodedPrompt, list[npt.NDArray[np.float32]]]:
        encoded = self.encode(request.prompt, len(request.images))
        return encoded, [preprocess(load_image(image), self.bundle.manifest.image) for image in request.images]

    def _decode(
        self, chooser: TokenChooser, state: State, writer: TextStream, record: _Record
    ) -> Generator[RunEvent, None, Reason]:
        token = chooser.choose(state.logits)
        record.ttft_ms = ms_since(record.start)
        while token not in chooser.settings.stop_token_ids:
            yield from _text_events(writer.push(token))
            if len(writer.token_ids) >= chooser.limit or state.max_past_tokens >= self.context_tokens:
                yield from _text_events(writer.finish())
                return "length"
            self._check_turn(record)
            start = perf_counter()
            state = decode(self.bundle.manifest, self.engine, token, state)
            token = chooser.choose(state.logits)
            record.decode_ms.append(ms_since(start))
        yield from _text_events(writer.finish())
        return "stop"

    def _check_turn(self, record: _Record) -> None:
        if self._turn is not record:
            raise BadRequest("another answer was started on this runner, which ended this one")


def open_runner(
    path: str | PathLike[str],
    *,
    verify: bool = True,
    threads: int | None = None,
    context_tokens: int | None = None,
) -> Runner:
    """Opens the bundle in a folder and loads its engine and tokenizer."""
    bundle = open_bundle(path, verify=verify)
    tokenizer = load_tokenizer(bundle)
    engine = load_engine(bundle, threads=threads, context_tokens=context_tokens)
    return Runner(bundle, engine, tokenizer, context_tokens)


def pruned_images(pipeline: Pipeline, state: State) -> tuple[Pruned, ...]:
    """Returns what the last cut kept of each image, as plain numbers."""
    return tuple(
        Pruned(tuple(chosen.cells.tolist()), tuple(chosen.rank.tolist()), pipeline.visual_tokens, chosen.view)
        for chosen in state.selections
        if chosen.cut == pipeline.cuts[-1].stage
    )


def _record_steps(steps: Generator[StageTimed, None, State], record: _Record) -> Generator[StageTimed, None, State]:
    """Adds the time of each step to the record as it passes by."""
    while True:
        try:
            run = next(steps)
        except StopIteration as stop:
            state: State = stop.value
            return state
        record.stages.append(run)
        yield run


def _text_events(piece: str) -> Iterator[TextPiece]:
    if piece:
        yield TextPiece(piece)
