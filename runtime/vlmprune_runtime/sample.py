"""Names an image and questions that come with the package, for a first run and for checks."""

from pathlib import Path

SAMPLE_IMAGE = Path(__file__).parent / "sample.jpg"
SAMPLE_PROMPT = "Is the dog left of the bus?"
SAMPLE_FOLLOW_UP = "How many objects are there?"
