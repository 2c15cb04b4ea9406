"""All questions of a data set, asked in turn, and how right the answers are."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.evaluation.answers import AGREEMENT, METRICS
from vlmprune_tools.evaluation.asking import Array, Asker
from vlmprune_tools.evaluation.items import Data, Item
from vlmprune_tools.evaluation.journal import Journal
from vlmprune_tools.evaluation.ways import BLIND, Way
from vlmprune_tools.pocket.progress import track

Said = Mapping[str, Mapping[str, str]]


def ask_all(asker: Asker, data: Data, ways: Sequence[Way], journal: Journal) -> None:
    """Ask what the journal does not have yet."""
    pending = list({item.key: item for item in data.items if item.key not in journal.said}.values())
    if not pending:
        return
    seeing, blind = ([way for way in ways if (way.method == BLIND) is dark] for dark in (False, True))
    dark = asker.visual(mean_pixels(asker, data)) if blind else None
    sight = Sight(asker, data)
    for at in track(range(len(pending)), f"asking {data.name}"):
        item = pending[at]
        with placed(item):
            said = asker.answers(sight.visual(item), item.question, seeing)
            if dark is not None:
                said |= asker.answers(dark, item.question, blind)
        journal.add(item.key, said)


@dataclass
class Sight:
    """Visual embeddings of the picture at hand: the vision stage runs once for all its questions."""

    asker: Asker
    data: Data
    _last: dict[str, Array] = field(default_factory=dict)

    def visual(self, item: Item) -> Array:  # -> (N, D)
        """Those of the item's picture."""
        if item.picture not in self._last:
            self._last = {item.picture: self.asker.visual(self.asker.pixels(self.data.show(item.picture)))}
        return self._last[item.picture]


def mean_pixels(asker: Asker, data: Data) -> Array:  # -> (1, 3, H, W)
    """The mean of the data's pictures as the model sees them: what a blind model is shown."""
    total = np.zeros(1)
    for picture in data.pictures:
        total = total + asker.pixels(data.show(picture)).astype(np.float64)
    return (total / len(data.pictures)).astype(np.float32)


@contextmanager
def placed(item: Item) -> Iterator[None]:
    """A `BadRequest` from inside says which item it is about."""
    try:
        yield
    except BadRequest as error:
        raise BadRequest(f"{item.place}: {error}") from None


def scores_of(data: Data, ways: Sequence[Way], said: Said) -> npt.NDArray[np.float64]:  # -> (M, I)
    """How right each way's answer to each item is."""
    return np.array([[score(item, way, ways[0], said) for item in data.items] for way in ways])


def score(item: Item, way: Way, unpruned: Way, said: Said) -> float:
    """One answer by the item's metric, against the unpruned model's where the item has no answer of its own."""
    heard = said[item.key]
    answers = (heard[unpruned.name],) if item.metric == AGREEMENT else item.answers
    return METRICS[item.metric](heard[way.name], answers)
