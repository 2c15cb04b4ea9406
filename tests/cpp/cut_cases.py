"""Where the bundles of these tests are cut, besides before a decoder layer."""

from typing import Any

CONTEXT_TOKENS = 128  # room for two images
CUTS: dict[str, dict[str, Any]] = {
    "input": {"layer": 0},
    "two": {"settings": {"vision_keep": 20}},
    "tower": {"method": "saint", "settings": {"place": "tower"}},
}
"""Options of a pruner, `uniform` if none is named: a cut at the language model's input; one after vision and one before
a layer; one inside the vision tower, where a pruned prompt does not run the vision stage."""
