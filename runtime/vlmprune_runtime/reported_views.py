"""What a run reports of the views of its images: how each was seen, and which tokens the last cut kept of it."""

from collections.abc import Sequence

from vlmprune_runtime.events import Pruned, SeenView
from vlmprune_runtime.prompt import EncodedPrompt
from vlmprune_runtime.question import SeenImage
from vlmprune_runtime.schema import Pipeline
from vlmprune_runtime.state import State


def pruned_views(
    pipeline: Pipeline, state: State, prompt: EncodedPrompt, earlier: tuple[int, int] = (0, 0)
) -> tuple[Pruned, ...]:
    """Returns what the last cut kept of each view of a prompt, as plain numbers.

    `earlier` counts the images, and their views, of the conversation before it.
    """
    pruned, (images, views) = [], earlier
    for chosen in state.selections:
        if chosen.cut == pipeline.cuts[-1].stage and chosen.view >= views:
            image, view = prompt.view_places[chosen.view - views]
            tokens = pipeline.grids[prompt.grids[chosen.view - views]].visual_tokens
            kept, rank = tuple(chosen.cells.tolist()), tuple(chosen.rank.tolist())
            pruned.append(Pruned(kept, rank, tokens, images + image, view))
    return tuple(pruned)


def seen_views(pipeline: Pipeline, seen: Sequence[SeenImage], earlier: int = 0) -> tuple[SeenView, ...]:
    """Returns the grid of each view of each image, and the place of each tile.

    `earlier` counts the images of the conversation before them.
    """
    views = []
    for number, image in enumerate(seen, start=earlier):
        for index, shown in zip(image.place.grids, image.views, strict=True):
            grid = pipeline.grids[index]
            sizes = (grid.height, grid.width, grid.height_px, grid.width_px)
            views.append(SeenView(number, *sizes, shown.view.row, shown.view.column))
    return tuple(views)
