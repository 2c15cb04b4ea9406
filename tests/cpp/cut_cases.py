"""Where the bundles of these tests are cut, besides before a decoder layer."""

from typing import Any

CONTEXT_TOKENS = 128  # room for two pictures
CUTS: dict[str, dict[str, Any]] = {
    "input": {"layer": 0},
    "two": {"settings": {"vision_keep": 20}},
}
"""Options of the pruner `uniform`: a cut at the language model's input; one after vision and one before a layer."""
