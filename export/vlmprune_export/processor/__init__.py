"""Describes a Hugging Face processor as data that a runner without transformers can follow."""

from vlmprune_export.processor.generation import generation_settings
from vlmprune_export.processor.grids import default_grids
from vlmprune_export.processor.image import image_spec
from vlmprune_export.processor.prompt import prompt_spec
from vlmprune_export.processor.tiles import layouts_of, picture_lengths

__all__ = ["default_grids", "generation_settings", "image_spec", "layouts_of", "picture_lengths", "prompt_spec"]
