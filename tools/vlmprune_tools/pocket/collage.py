"""Scenes put together from the patches of drawn ones: always new ones, of so few tokens that a step holds many.

An object keeps its place and its patches; what is behind it comes from another picture. Signs come as they are,
thinned. A collage can only be sampled, not seen whole: most of its patches are gone.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.pocket.features import Seen
from vlmprune_tools.pocket.placing import Square, clear, far_enough, within
from vlmprune_tools.pocket.scenes import CLEAN, EDGE, GONE, Placed, Scene, concepts_of
from vlmprune_tools.pocket.styles import Style

KINDS = {"one": 0.5, "row": 0.16, "column": 0.16, "many": 0.1, "same": 0.08}
STYLE = Style(most=4, kinds=KINDS)
BACKGROUND, TRIES = 40, 40  # patches kept of what is behind; attempts to find objects that do not touch
SIGNS = 0.15  # share of signs, where there are any


@dataclass(frozen=True)
class Piece:
    """One object of a drawn picture."""

    example: Seen
    number: int

    @property
    def placed(self) -> Placed:
        """What it is, and where."""
        return self.example.scene.objects[self.number]

    def patches(self) -> tuple[Tensor, Tensor]:  # -> (P,), (E,)
        """Numbers of the patches mostly on it, and of those on its edge."""
        owner = self.example.owner
        edge = (owner == EDGE) & within(self.placed.square)
        return (owner == self.number).nonzero()[:, 0], edge.nonzero()[:, 0]


@dataclass(frozen=True)
class Collage:
    """An example made of others: which of its patches come from where."""

    scene: Scene
    owner: Tensor  # (N,)
    taken: tuple[tuple[Seen, Tensor], ...]  # each with the numbers of its patches

    def features(self) -> Tensor:  # -> (N, F)
        """Features of the visual tokens that there are; zeros for those that are gone."""
        parts = [(at, example.features()[at]) for example, at in self.taken]
        features = parts[0][1].new_zeros(len(self.owner), parts[0][1].shape[1])
        for at, values in parts:
            features[at] = values
        return features


class Collages:
    """Draws collages out of many examples."""

    def __init__(self, examples: Iterable[Seen]) -> None:
        """Sort all objects of some examples by what they are; `BadRequest` when too few for any scene."""
        self.pieces: dict[str, list[Piece]] = {}
        self.behind: list[Seen] = []
        self.signs: list[Seen] = []
        for example in examples:
            if example.scene.kind == "sign":
                self.signs.append(example)
            for number, item in enumerate(example.scene.objects):
                self.pieces.setdefault(item.concept, []).append(Piece(example, number))
            if example.scene.kind in KINDS and (example.owner == CLEAN).sum() >= 4 * BACKGROUND:
                self.behind.append(example)
        if len(self.pieces) < STYLE.fewest or not self.behind:
            raise BadRequest(
                "collages need pictures of two concepts or more, and free space; add drill or hard to --mix"
            )

    def draw(self, rng: random.Random) -> Collage:
        """A new scene; which, depends on the state of `rng` only."""
        if self.signs and rng.random() < SIGNS:
            return thinned(rng.choice(self.signs), rng)
        while True:
            kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
            concepts = concepts_of(kind, STYLE, list(self.pieces), rng)
            for _ in range(TRIES):
                pieces = [rng.choice(self.pieces[name]) for name in concepts]
                if apart(kind, [piece.placed.square for piece in pieces]):
                    return assemble(kind, pieces, rng.choice(self.behind), rng)


def apart(kind: str, squares: Sequence[Square]) -> bool:
    """True when no squares touch, and those of a row or column are well apart."""
    pairs = ((a, b) for number, a in enumerate(squares) for b in squares[:number])
    return all(clear(a, b) for a, b in pairs) and far_enough(kind, list(squares))


def assemble(kind: str, pieces: Sequence[Piece], behind: Seen, rng: random.Random) -> Collage:
    """The pieces before a few patches of what is behind; `shows` of `behind` is kept."""
    owner = torch.full_like(behind.owner, GONE)
    free = behind.owner == CLEAN
    for piece in pieces:
        free &= ~within(piece.placed.square)
    seen = torch.tensor(rng.sample(free.nonzero()[:, 0].tolist(), min(BACKGROUND, int(free.sum()))), dtype=torch.long)
    owner[seen] = CLEAN
    taken = [(behind, seen)]
    for number, piece in enumerate(pieces):
        on, edge = piece.patches()
        owner[on], owner[edge] = number, EDGE
        taken.append((piece.example, torch.cat([on, edge])))
    scene = Scene(kind, tuple(piece.placed for piece in pieces), behind.scene.colour, behind.scene.shows)
    return Collage(scene, owner, tuple(taken))


def thinned(example: Seen, rng: random.Random) -> Collage:
    """A picture with few of the patches that are on nothing."""
    owner, behind = example.owner.clone(), (example.owner == CLEAN).nonzero()[:, 0].tolist()
    owner[rng.sample(behind, max(0, len(behind) - BACKGROUND))] = GONE
    return Collage(example.scene, owner, ((example, (owner != GONE).nonzero()[:, 0]),))
