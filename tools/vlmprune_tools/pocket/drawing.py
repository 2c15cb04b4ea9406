"""Which pictures and questions a step sees: depends on seed and step only."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from vlmprune_tools.pocket.batches import ALL_VISUAL, Batch, make_batch, shuffled
from vlmprune_tools.pocket.collage import Collages
from vlmprune_tools.pocket.features import Seen
from vlmprune_tools.pocket.paraphrases import reworded
from vlmprune_tools.pocket.questions import Question, questions
from vlmprune_tools.pocket.settings import Settings
from vlmprune_tools.pocket.tokens import Tokens

IDENTITY = ("naming", "left-right", "top-bottom")  # families answered with a concept: dense steps ask them first


@dataclass(frozen=True)
class Group:
    """Examples of one source, and how often they are drawn."""

    weight: float
    examples: Sequence[Seen]


class Drawer:
    """Makes the batch of any step."""

    def __init__(self, groups: Sequence[Group], concepts: Sequence[str], tokens: Tokens, settings: Settings) -> None:
        """Draw from `groups`, ask about `concepts`."""
        self.groups, self.concepts, self.tokens, self.settings = groups, concepts, tokens, settings
        dense = settings.dense_until > 0
        self.collages = Collages(chain.from_iterable(group.examples for group in groups)) if dense else None

    def batch(self, step: int, rng: random.Random) -> Batch:
        """Pictures with their questions for one step."""
        s = self.settings
        if self.collages and step < s.dense_until * s.steps:
            return self.dense(self.collages, rng)
        if step >= s.full_from * s.steps or rng.random() < s.full_fraction:
            return self.of_pictures(rng, s.full_rows, s.full_rounds, ALL_VISUAL, s.full_question_tokens)
        return self.of_pictures(rng, s.rows, s.rounds, s.sampled_visual, s.question_tokens)

    def dense(self, collages: Collages, rng: random.Random) -> Batch:
        """Many collages of few tokens, asked first what is there."""
        s = self.settings
        examples = [collages.draw(rng) for _ in range(s.dense_rows)]
        asked = [self.worded(questions(example.scene, self.concepts, rng), rng) for example in examples]
        ordered = [sorted(some, key=lambda item: item[0] not in IDENTITY) for some in asked]
        return make_batch(examples, ordered, self.tokens, s.dense_visual, s.dense_question_tokens)

    def of_pictures(self, rng: random.Random, rows: int, rounds: int, visual: int, room: int) -> Batch:
        """Rows of whole pictures, `visual` tokens of each."""
        chosen = rng.choices(self.groups, [group.weight for group in self.groups], k=rows)
        examples = [rng.choice(group.examples) for group in chosen]
        asked = [self.worded(questions(example.scene, self.concepts, rng, rounds), rng) for example in examples]
        return make_batch(examples, asked, self.tokens, visual, room)

    def worded(self, asked: list[Question], rng: random.Random) -> list[Question]:
        """The questions in a random order, a share of them in other words."""
        share = self.settings.reworded
        return [reworded(item, rng) if rng.random() < share else item for item in shuffled(asked, rng)]
