"""Describes a Hugging Face processor as data that a runner without transformers can follow."""

from vlmprune_export.processor.generation import generation_settings
from vlmprune_export.processor.grids import default_grids
from vlmprune_export.processor.image import image_spec
from vlmprune_export.processor.prompt import prompt_spec
from vlmprune_export.processor.tiles import image_lengths, layouts_of

__all__ = ["default_grids", "generation_settings", "image_lengths", "image_spec", "layouts_of", "prompt_spec"]
