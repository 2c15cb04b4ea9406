"""What the model learns to name; each concept is one token, so the projector can start from its embedding."""

from pathlib import Path

HERE = Path(__file__).parent
CONCEPTS = tuple((HERE / "concepts.txt").read_text(encoding="utf-8").split())
WORDS = tuple((HERE / "words.txt").read_text(encoding="utf-8").split())

COLOURS = {
    "red": (200, 40, 40),
    "blue": (40, 70, 200),
    "green": (40, 160, 60),
    "yellow": (230, 210, 60),
    "gray": (128, 128, 128),
    "white": (245, 245, 245),
    "black": (15, 15, 15),
    "purple": (130, 50, 160),
}

SHAPES = ("circle", "rectangle", "triangle")
SHAPE_COLOURS = ("teal", "brown")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# Labels whose emoji is filed under another name.
CODE_OF = {"apple": "1f34e", "tree": "1f333", "umbrella": "2602-fe0f"}
