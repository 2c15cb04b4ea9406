"""`measure` runs bundles by turns and returns one record of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path

from vlmprune_runtime import __version__
from vlmprune_runtime.benchmark.device import describe_device, read_device_state
from vlmprune_runtime.benchmark.loading import LoadedBundle, load_and_warm_up
from vlmprune_runtime.benchmark.record import BenchmarkRecord
from vlmprune_runtime.benchmark.result import result_of
from vlmprune_runtime.benchmark.rounds import run_order
from vlmprune_runtime.benchmark.run_metadata import ImageInfo, Settings, Tool
from vlmprune_runtime.benchmark.timed_run import Task, run_timed
from vlmprune_runtime.bundle import file_sha256
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.image_loading import load_image
from vlmprune_runtime.progress import hashing_of
from vlmprune_runtime.sample import SAMPLE_FOLLOW_UP, SAMPLE_IMAGE, SAMPLE_PROMPT

Progress = Callable[[str], None]


@dataclass(frozen=True)
class BenchmarkRequest:
    """Holds the settings of a measurement; `threads` None leaves their number to the engine.

    `follow_up` None asks a sample question behind the answer where a bundle has room for it.
    """

    image: Path | Sequence[Path] = SAMPLE_IMAGE
    prompt: str = SAMPLE_PROMPT
    repetitions: int = 10
    warmups: int = 2
    tokens: int = 16
    threads: int | None = None
    verify: bool = True
    follow_up: str | None = None

    def __post_init__(self) -> None:
        """Raises `BadRequest` for counts below 1."""
        for name, least in (("repetitions", 1), ("warmups", 1), ("tokens", 1)):
            if getattr(self, name) < least:
                raise BadRequest(f"{name}: got {getattr(self, name)}, allowed: {least} or more")

    @property
    def task(self) -> Task:
        """The work of every run."""
        return Task(self.images, self.prompt, self.tokens, self.follow_up)

    @property
    def images(self) -> tuple[Path, ...]:
        """The images of the question, also if there is only one."""
        return (self.image,) if isinstance(self.image, Path) else tuple(self.image)


def steps_of(bundles: int, request: BenchmarkRequest) -> int:
    """Returns how often `measure` reports its progress."""
    return bundles * (1 + 2 * (request.warmups - 1 + request.repetitions))


def measure(
    paths: Sequence[str | PathLike[str]], request: BenchmarkRequest, *, progress: Progress = lambda line: None
) -> BenchmarkRecord:
    """Measures all bundles by turns in this process, and returns their record.

    `progress` is called with a line for each step as the step begins.
    """
    settings, loaded = settings_of(request), []
    for path in paths:
        step = f"loading {Path(path).name}"
        progress(step)
        hashing = hashing_of(step, progress)
        loaded.append(load_and_warm_up(path, request.task, request.threads, request.verify, hashing))
    return measure_loaded(loaded, request, settings, progress)


def measure_loaded(
    loaded: Sequence[LoadedBundle], request: BenchmarkRequest, settings: Settings, progress: Progress
) -> BenchmarkRecord:
    """Measures bundles that are loaded and have run once; that run was the first warm-up."""
    _run_rounds(loaded, request.task, request.warmups - 1, _prefixed("warm-up", progress))
    for loaded_bundle in loaded:
        loaded_bundle.runs.clear()
    before = read_device_state()
    _run_rounds(loaded, request.task, request.repetitions, _prefixed("round", progress))
    return BenchmarkRecord(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        tool=Tool(name="vlmprune-bench", version=__version__),
        device=describe_device(before, read_device_state()),
        settings=settings,
        results=tuple(result_of(loaded_bundle, request.task) for loaded_bundle in loaded),
    )


def settings_of(request: BenchmarkRequest) -> Settings:
    """Returns the request as it stands in the record. Raises `BadRequest` if the image cannot be read."""
    images = tuple(_image_info(path) for path in request.images)
    return Settings(
        repetitions=request.repetitions,
        warmups=request.warmups,
        tokens=request.tokens,
        threads=request.threads,
        prompt=request.prompt,
        image=images[0],
        images=images if len(images) > 1 else (),
        follow_up=SAMPLE_FOLLOW_UP if request.follow_up is None else request.follow_up,
    )


def _image_info(path: Path) -> ImageInfo:
    image = load_image(path)
    return ImageInfo(name=path.name, sha256=file_sha256(path), width_px=image.width, height_px=image.height)


def _run_rounds(loaded: Sequence[LoadedBundle], task: Task, rounds: int, progress: Progress) -> None:
    for turn in run_order(len(loaded), rounds):
        loaded_bundle = loaded[turn.bundle]
        mode = "pruned" if turn.prune else "unpruned"
        progress(f"{turn.round + 1} of {rounds}: {loaded_bundle.runner.bundle.folder.name}, {mode}")
        loaded_bundle.runs[turn.round, turn.prune] = run_timed(loaded_bundle.runner, task, prune=turn.prune)


def _prefixed(kind: str, progress: Progress) -> Progress:
    return lambda line: progress(f"{kind} {line}")
