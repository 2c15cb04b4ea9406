"""Where what the model sees lies in the picture that was given; rounded as Hugging Face does."""

from dataclasses import dataclass
from math import ceil

from vlmprune_runtime.schema import ImageSpec, Size

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Axis:
    """`given_px` are resized to `resized_px`, of which `seen_px` from `start_px` on are seen.

    `start_px` is negative where the resized picture is padded before.
    """

    given_px: int
    resized_px: int
    start_px: int
    seen_px: int

    @property
    def shown(self) -> tuple[int, int]:
        """First and last + 1 resized pixel that are seen."""
        return max(self.start_px, 0), min(self.start_px + self.seen_px, self.resized_px)

    def source(self, support: float) -> tuple[int, int, float, float]:
        """Given pixels a .. b - 1 that what is seen depends on, and where it starts and ends in them.

        `support` is the reach of the resize filter in pixels of the coarser picture.
        """
        first, last = (self.to_given(place) for place in self.shown)
        reach = ceil(support * max(1.0, self.given_px / self.resized_px)) + 1
        start, stop = max(int(first) - reach, 0), min(ceil(last) + reach, self.given_px)
        return start, stop, first - start, last - start

    def to_given(self, resized_px: float) -> float:
        """A place in the resized picture as a place in the given one."""
        return resized_px * self.given_px / self.resized_px


@dataclass(frozen=True)
class View:
    """Both axes of what the model sees."""

    height: Axis
    width: Axis

    @property
    def box(self) -> Box:
        """Left, top, right, bottom of what the model sees, with padding, in pixels of the given picture."""
        across, down = self.width, self.height
        ends = (across.start_px + across.seen_px, down.start_px + down.seen_px)
        return (
            across.to_given(across.start_px),
            down.to_given(down.start_px),
            across.to_given(ends[0]),
            down.to_given(ends[1]),
        )


def view_of(width_px: int, height_px: int, spec: ImageSpec) -> View:
    """How a picture of that size is resized and cropped.

    >>> from vlmprune_runtime.schema import Resize
    >>> resize = Resize(mode="shortest_edge", height_px=4, width_px=4, filter="bicubic")
    >>> spec = ImageSpec(resize=resize, crop=Size(height_px=4, width_px=4), rescale=1.0,
    ...     mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), grid_height=2, grid_width=2)
    >>> view_of(16, 8, spec).box
    (4.0, 0.0, 12.0, 8.0)
    """
    height, width = resized_size(width_px, height_px, spec)
    crop = spec.crop or Size(height_px=height, width_px=width)
    return View(
        Axis(height_px, height, crop_start(height, crop.height_px), crop.height_px),
        Axis(width_px, width, crop_start(width, crop.width_px), crop.width_px),
    )


def resized_size(width_px: int, height_px: int, spec: ImageSpec) -> tuple[int, int]:
    """Height and width after the resize."""
    if spec.resize is None:
        return height_px, width_px
    if spec.resize.mode == "exact":
        return spec.resize.height_px, spec.resize.width_px
    short, long = sorted((width_px, height_px))
    edge = spec.resize.height_px
    longer = int(edge * long / short)
    return (longer, edge) if width_px <= height_px else (edge, longer)


def crop_start(resized_px: int, crop_px: int) -> int:
    """First pixel of a centre crop, negative for a picture that is too small.

    Of an odd number of padded pixels the smaller half goes before, as in Hugging Face's default processors
    (their Pillow twins put the larger half there).

    >>> crop_start(7, 4), crop_start(4, 7)
    (1, -1)
    """
    return (resized_px - crop_px) // 2 if resized_px >= crop_px else -((crop_px - resized_px) // 2)
