"""Measures on many images how often rounding or compression before the pruner changes what it keeps."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from vlmprune_export.parity.token_agreement import kept_places
from vlmprune_runtime.engines import Engine
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.image_loading import load_image
from vlmprune_runtime.prefill import select
from vlmprune_runtime.progress import Report
from vlmprune_runtime.question import ask
from vlmprune_runtime.schema import Bundle, PromptSpec

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".heic", ".heif", ".avif", ".gif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Overlap:
    """How many of `keep` tokens both engines kept on each image, each after its own vision and head stages.

    With several grids `keep` is the largest, and `keep_by_picture` has that of each image. `skipped` are the images
    that could not be read, each with the reason.
    """

    keep: int
    in_common: tuple[int, ...]
    skipped: tuple[str, ...] = ()
    keep_by_picture: tuple[int, ...] = ()

    @property
    def mean_fraction(self) -> float | None:
        """Returns the average share of kept tokens in common, None if no image could be read.

        >>> Overlap(4, (4, 2)).mean_fraction
        0.75
        >>> Overlap(4, (4, 2), keep_by_picture=(4, 2)).mean_fraction
        1.0
        """
        if not self.in_common:
            return None
        return sum(self.in_common) / (sum(self.keep_by_picture) or self.keep * len(self.in_common))


def images_in(folder: Path) -> list[Path]:
    """Returns the images of a folder by name. Raises `BadRequest` if there are none."""
    images = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not images:
        raise BadRequest(
            f"image-folder: got {folder}, which has none; allowed: a folder of {', '.join(SUFFIXES)} files"
        )
    return images


def compare_kept(
    manifest: Bundle,
    engines: tuple[Engine, Engine],
    asked: tuple[Tokenizer, PromptSpec, str],
    images: Iterable[Path],
    progress: Report,
) -> Overlap:
    """Compares both engines' kept tokens of each image without the tail; images that cannot be read are skipped."""
    common, skipped, keep = list[int](), list[str](), list[int]()
    images = list(images)
    for nth, image in enumerate(images, start=1):
        progress(f"comparing kept tokens, image {nth} of {len(images)}")
        try:
            question = ask(manifest, manifest.image, asked[:2], asked[2], [load_image(image)])
        except BadRequest as reason:
            skipped.append(str(reason))
            continue
        runs = (select(manifest, engine, question.prompt, question.pixels) for engine in engines)
        first, second = (kept_places(run) for run in runs)
        keep.append(len(first))
        common.append(len(first & second))
    return Overlap(max(keep, default=0), tuple(common), tuple(skipped), tuple(keep))
