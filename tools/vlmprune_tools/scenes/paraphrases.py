"""Paraphrases of the questions: training sees some, the others are held out for measuring.

Each pattern's group captures the subject of the question: a paraphrase of "Is there a cat?" asks for "a cat".
"""

import random
import re

from vlmprune_tools.scenes.scene import Question

# canonical form -> (wordings that training sees, held-out wordings)
WORDINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    r"What is in the picture\?": (
        ("What does the picture show?", "What object is this?", "Name the object in the picture."),
        ("What can be seen in the picture?", "Which object is in the image?"),
    ),
    r"Is there (an? \w+)\?": (
        ("Does the picture show {0}?", "Can you see {0}?", "Is {0} in the picture?"),
        ("Is there {0} in the image?", "Does the image contain {0}?"),
    ),
    r"What color is the background\?": (
        ("What is the background color?", "Which color does the background have?"),
        ("What is the color of the background?", "Which color is behind the objects?"),
    ),
    r"What is (on the left|on the right|at the top|at the bottom)\?": (
        ("Which object is {0}?", "What is {0} of the picture?"),
        ("What can be seen {0}?", "Which thing is {0} of the image?"),
    ),
    r"Is the (\w+) (left of|right of) the (\w+)\?": (
        ("Is the {0} to the {1} the {2}?", "Is the {0} on the {1} the {2}?"),
        ("Does the picture show the {0} {1} the {2}?", "Can the {0} be seen {1} the {2}?"),
    ),
    r"Is the (\w+) (above|below) the (\w+)\?": (
        ("Is the {0} placed {1} the {2}?", "Is the {0} somewhere {1} the {2}?"),
        ("Does the picture show the {0} {1} the {2}?", "Can the {0} be seen {1} the {2}?"),
    ),
    r"Is the (\w+) (on the left or right|at the top or bottom)\?": (
        ("Where is the {0}, {1}?", "Does the {0} stand {1}?"),
        ("Can the {0} be seen {1}?",),
    ),
    r"How many objects are there\?": (
        ("How many things are in the picture?", "Count the objects."),
        ("How many objects can you see?", "How many objects does the image show?"),
    ),
    r"What number is shown\?": (("Which digit is this?",), ("What digit can you see?",)),
    r"What does the sign say\?": (("Which word is on the sign?",), ("What is written on the sign?",)),
}


def paraphrase(question: Question, rng: random.Random, held_out: bool = False) -> Question:
    """Returns the question in other words, or as it is if none are known.

    >>> paraphrase(Question("counting", "How many objects are there?", "two"), random.Random(0), held_out=True).text
    'How many objects does the image show?'
    """
    for pattern, wordings in WORDINGS.items():
        if match := re.fullmatch(pattern, question.text):
            return question._replace(text=rng.choice(wordings[held_out]).format(*match.groups()))
    return question
