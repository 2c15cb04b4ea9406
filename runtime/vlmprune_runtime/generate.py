"""Answers a question about an image as a stream of events."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from time import perf_counter

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from vlmprune_runtime.bundle import OpenBundle, open_bundle
from vlmprune_runtime.conversation import Conversation, Turn
from vlmprune_runtime.decode import decode
from vlmprune_runtime.detokenize import TextStream
from vlmprune_runtime.engines import Engine, check_context, load_engine
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.events import (
    Finished,
    Reason,
    RunEvent,
    RunResult,
    StageTimed,
    TextPiece,
    ms_since,
)
from vlmprune_runtime.image_loading import ImageSource, load_image
from vlmprune_runtime.prefill import start_prefill
from vlmprune_runtime.progress import Report, silent
from vlmprune_runtime.prompt import (
    ONE_VIEW,
    EncodedPrompt,
    ImagePlace,
    check_room,
    encode_prompt,
    expand_ids,
    load_tokenizer,
    render,
    render_follow_up,
    tokenize,
)
from vlmprune_runtime.question import Question, SeenImage, see
from vlmprune_runtime.recorder import Recorder
from vlmprune_runtime.reported_views import pruned_views, seen_views
from vlmprune_runtime.sampling import AS_EXPORTED, Sampling, TokenChooser

MAX_TOKENS = 32


@dataclass(frozen=True)
class Request:
    """Holds a question about one or more images; `prune=False` asks the unpruned model on the same weights.

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


class Runner:
    """Answers questions with a bundle; it gives one answer at a time, because the engine has one set of caches.

    `conversation` is what was asked and answered since the last first question, None before its prompt has run.
    """

    def __init__(
        self, bundle: OpenBundle, engine: Engine, tokenizer: Tokenizer, context_tokens: int | None = None
    ) -> None:
        """Joins the parts of a runner; `open_runner` does so from a folder."""
        self.bundle, self.engine, self.tokenizer = bundle, engine, tokenizer
        self.context_tokens = check_context(bundle, context_tokens)
        self._current: Recorder | None = None
        self._request: Request | None = None
        self.conversation: Conversation | None = None

    def stream(self, request: Request) -> Iterator[RunEvent]:
        """Yields the events of an answer: stages as they have run, the kept tokens, text, and `Finished` at the end."""
        record = self._current = Recorder()
        self._request, self.conversation = request, None
        self.encode(request.prompt, self._smallest(len(request.images)))
        seen = self._see(request.images, prune=request.prune)
        yield from self._reply(request, self._first_turn(request.prompt, seen), seen, record)

    def follow_up(self, prompt: str, images: Sequence[ImageSource] = ()) -> Iterator[RunEvent]:
        """Yields the events of the answer to a further question, which goes on behind what was said last.

        It has the settings of the request that began the conversation. New images are pruned as the first ones were;
        of those before, the same tokens stay kept. An answer that was given up half-way counts as far as it went.
        Raises `BadRequest` if nothing was asked yet, or if the bundle or the context has no room for the question.
        """
        if self.conversation is None or self._request is None:
            raise BadRequest("there is no conversation to go on with; ask a first question before a follow-up")
        record = self._current = Recorder()
        manifest, request = self.bundle.manifest, replace(self._request, prompt=prompt, image=tuple(images))
        smallest = self._smallest(len(request.images))
        render_follow_up(manifest.prompt, prompt, smallest)  # so that too many images are refused before one is read
        seen = self._see(request.images, prune=request.prune)
        places = [image.place for image in seen]
        turn = self.conversation.go_on(self.tokenizer, manifest.prompt, manifest.view_tokens, prompt, places)
        yield from self._reply(request, turn, seen, record)

    def answer(self, request: Request) -> RunResult:
        """Returns the result of an answer, without the events before it."""
        return last_result(self.stream(request))

    def encode(self, prompt: str, places: Sequence[ImagePlace] = ONE_VIEW) -> EncodedPrompt:
        """Returns the question as token ids. Raises `BadRequest` if it or so many images have no place."""
        manifest = self.bundle.manifest
        encoded = encode_prompt(self.tokenizer, manifest.prompt, manifest.view_tokens, prompt, places)
        check_room(encoded, self.context_tokens)
        return encoded

    def ask(self, prompt: str, images: Sequence[ImageSource], *, prune: bool = True) -> Question:
        """Returns a first question with its images. Raises `BadRequest` if it or one of them has no place.

        No image is read if there is no room for all of them, each seen as one view on the smallest grid.
        """
        self.encode(prompt, self._smallest(len(images)))
        seen = self._see(images, prune=prune)
        return Question(self.encode(prompt, [image.place for image in seen]), seen)

    def chooser(self, request: Request, token_ids: npt.NDArray[np.int64]) -> TokenChooser:  # (S,)
        """Returns the chooser of the tokens behind a prompt, which knows the limit of their number."""
        settings = request.sampling.applied(self.bundle.manifest.generation)
        limit = request.max_tokens or settings.limit(len(token_ids), otherwise=MAX_TOKENS)
        return TokenChooser(settings, token_ids, limit, request.sampling.seed)

    def _smallest(self, images: int) -> list[ImagePlace]:
        """Returns the least places that so many images need: one view each, on the smallest grid."""
        tokens = self.bundle.manifest.view_tokens
        return [ImagePlace((tokens.index(min(tokens)),))] * images

    def _see(self, images: Sequence[ImageSource], *, prune: bool) -> tuple[SeenImage, ...]:
        manifest = self.bundle.manifest
        spec = manifest.image_steps(prune=prune)
        return tuple(see(manifest, spec, load_image(image)) for image in images)

    def _first_turn(self, prompt: str, seen: Sequence[SeenImage]) -> Turn:
        manifest, places = self.bundle.manifest, [image.place for image in seen]
        text = render(manifest.prompt, prompt, places)
        ids = tokenize(self.tokenizer, manifest.prompt, text)
        encoded = expand_ids(ids, manifest.prompt, manifest.view_tokens, places)
        return Turn(text, ids, tuple(places), encoded)

    def _reply(self, request: Request, turn: Turn, seen: tuple[SeenImage, ...], record: Recorder) -> Iterator[RunEvent]:
        """Yields the events of the answer to a turn's question."""
        manifest, token_ids, question = self.bundle.manifest, turn.token_ids, Question(turn.prompt, seen)
        self._check_turn(turn)
        record.stages.append(StageTimed("preprocess", ms_since(record.start)))
        yield record.stages[0]
        behind = turn.behind.state if turn.behind else None
        run = start_prefill(manifest, self.engine, turn.prompt, question.pixels, behind)
        state = yield from record.passing(run.run_all(prune=request.prune))
        conversation = self.conversation = turn.asked(state, TextStream(self.tokenizer))
        pruned = pruned_views(manifest, state, turn.prompt, (turn.earlier_images, run.earlier_views))
        yield from pruned
        reason = yield from self._decode(self.chooser(request, token_ids), conversation, record)
        answer, prefilled = conversation.answer, len(turn.prompt.token_ids)
        result = RunResult(
            answer.text, tuple(answer.token_ids), reason, len(token_ids), prefilled, pruned, record.timings(),
            seen_views(manifest, seen, turn.earlier_images),
        )  # fmt: skip
        yield Finished(result)

    def _check_turn(self, turn: Turn) -> None:
        if turn.behind is None:
            check_room(turn.prompt, self.context_tokens)
        elif (tokens := len(turn.token_ids)) > self.context_tokens:
            room = self.context_tokens
            raise BadRequest(f"the conversation takes {tokens} tokens by now, the context has {room}; start it anew")

    def _decode(
        self, chooser: TokenChooser, conversation: Conversation, record: Recorder
    ) -> Generator[RunEvent, None, Reason]:
        writer, state = conversation.answer, conversation.held.state
        token = chooser.choose(state.logits)
        record.ttft_ms = ms_since(record.start)
        while token not in chooser.settings.stop_token_ids:
            yield from _text_events(writer.push(token))
            if len(writer.token_ids) >= chooser.limit or state.fills(self.context_tokens):
                yield from _text_events(writer.finish())
                return "length"
            self._check_current(record)
            start = perf_counter()
            state = decode(self.bundle.manifest, self.engine, token, state)
            conversation.held = conversation.held.with_token(token, state)
            token = chooser.choose(state.logits)
            record.decode_ms.append(ms_since(start))
        yield from _text_events(writer.finish())
        return "stop"

    def _check_current(self, record: Recorder) -> None:
        if self._current is not record:
            raise BadRequest("another answer was started on this runner, which ended this one")


def last_result(events: Iterator[RunEvent]) -> RunResult:
    """Returns the result at the end of a stream of events."""
    *_, last = events
    assert isinstance(last, Finished)
    return last.result


def open_runner(
    path: str | PathLike[str],
    *,
    verify: bool = True,
    threads: int | None = None,
    context_tokens: int | None = None,
    report: Report = silent,
) -> Runner:
    """Opens the bundle in a folder and loads its engine and tokenizer; `report` gets how much of it is hashed."""
    bundle = open_bundle(path, verify=verify, report=report)
    tokenizer = load_tokenizer(bundle)
    engine = load_engine(bundle, threads=threads, context_tokens=context_tokens)
    return Runner(bundle, engine, tokenizer, context_tokens)


def _text_events(piece: str) -> Iterator[TextPiece]:
    if piece:
        yield TextPiece(piece)
