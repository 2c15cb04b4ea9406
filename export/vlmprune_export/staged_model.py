"""A model cut into its stages."""

from typing import Any, NamedTuple

from torch import nn

from vlmprune_export.cuts import PruneOptions, plan_cuts, pruner_settings
from vlmprune_export.families import Family
from vlmprune_export.pipeline import pipeline_of
from vlmprune_export.pruners import pruner_name
from vlmprune_export.stage_table import StageEntry, stage_table


class ImageLength(NamedTuple):
    """How many views an image has in a prompt, and how many text tokens stand between them."""

    views: int
    text_tokens: int

    def tokens(self, view_tokens: int) -> int:
        """Returns all tokens of the image, with so many for each view."""
        return self.views * view_tokens + self.text_tokens


ONE_VIEW = (ImageLength(1, 0),)


class StagedModel:
    """A model cut into its stages: `stages` is the table of stages, `pipeline` declares how they are connected.

    `image_lengths` are those that an image may have in a prompt, ascending; `images` is how many of the longest a
    prompt has room for.
    """

    def __init__(self, family: Family, options: PruneOptions, context_tokens: int | None = None) -> None:
        """Cuts the model. Raises `BadRequest` for options that do not fit the model.

        `context_tokens` is the most that a sequence will have, None for as many as the model has positions.
        """
        self.family, self.options = family, options
        self.image_lengths: tuple[ImageLength, ...] = ONE_VIEW
        self.images = 1
        self.method = pruner_name(options.method)
        self.cuts = plan_cuts(family, options, context_tokens)
        self.stages: dict[str, StageEntry] = stage_table(family, self.cuts)
        self.pipeline = pipeline_of(family, self.cuts, {name: row.declared for name, row in self.stages.items()})

    def settings(self) -> dict[str, Any]:
        """Returns every setting of the pruner, defaults included."""
        return pruner_settings(self.cuts)

    def modules(self) -> dict[str, nn.Module]:
        """Returns the stages' modules by name, of the first grid."""
        return {name: row.module for name, row in self.stages.items()}

    @property
    def tail(self) -> StageEntry:
        """Returns the last stage."""
        return self.stages[self.pipeline.prefill[-1]]
