"""The evaluation loop: predicts every item of a dataset under every pruning config, and scores the predictions."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.progress import track
from vlmprune_tools.evaluation.dataset import Dataset, Item
from vlmprune_tools.evaluation.evaluator import Array, Evaluator
from vlmprune_tools.evaluation.metrics import AGREEMENT, METRICS
from vlmprune_tools.evaluation.prediction_log import PredictionLog
from vlmprune_tools.evaluation.pruning_config import BLIND, PruningConfig

Predictions = Mapping[str, Mapping[str, str]]  # by item key, then by config name


def run_evaluation_loop(
    evaluator: Evaluator, dataset: Dataset, configs: Sequence[PruningConfig], log: PredictionLog
) -> None:
    """Predicts the items that the log does not hold yet, and adds them to it one by one."""
    pending = list({item.key: item for item in dataset.items if item.key not in log.predictions}.values())
    if not pending:
        return
    sighted = [config for config in configs if config.method != BLIND]
    blind = [config for config in configs if config.method == BLIND]
    mean_visual = evaluator.encode_image(mean_pixels(evaluator, dataset)) if blind else None
    encoder = ImageEncoder(evaluator, dataset)
    for index in track(range(len(pending)), f"evaluating {dataset.name}"):
        item = pending[index]
        with locating_errors(item):
            predictions = evaluator.predict(encoder.visual(item), item.question, sighted)
            if mean_visual is not None:
                predictions |= evaluator.predict(mean_visual, item.question, blind)
        log.add(item.key, predictions)


@dataclass
class ImageEncoder:
    """Keeps the visual embeddings of the last picture: the vision stage runs once for all its questions."""

    evaluator: Evaluator
    dataset: Dataset
    _last: dict[str, Array] = field(default_factory=dict)

    def visual(self, item: Item) -> Array:  # -> (N, D)
        """Returns the visual embeddings of the item's picture."""
        if item.picture not in self._last:
            pixels = self.evaluator.preprocess(self.dataset.load_picture(item.picture))
            self._last = {item.picture: self.evaluator.encode_image(pixels)}
        return self._last[item.picture]


def mean_pixels(evaluator: Evaluator, dataset: Dataset) -> Array:  # -> (1, 3, H, W)
    """Returns the mean of the dataset's preprocessed pictures, which the blind model is shown."""
    total = np.zeros(1)
    for picture in dataset.pictures:
        total = total + evaluator.preprocess(dataset.load_picture(picture)).astype(np.float64)
    return (total / len(dataset.pictures)).astype(np.float32)


@contextmanager
def locating_errors(item: Item) -> Iterator[None]:
    """Puts the item's location in front of the message of a `BadRequest` that the body raises."""
    try:
        yield
    except BadRequest as error:
        raise BadRequest(f"{item.location}: {error}") from None


def score_predictions(
    dataset: Dataset, configs: Sequence[PruningConfig], predictions: Predictions
) -> npt.NDArray[np.float64]:  # -> (M, I)
    """Returns the score of each config's prediction for each item; the first config is the unpruned model."""
    return np.array(
        [[score(item, predictions[item.key], config, configs[0]) for item in dataset.items] for config in configs]
    )


def score(item: Item, predictions: Mapping[str, str], config: PruningConfig, unpruned: PruningConfig) -> float:
    """Scores one prediction by the item's metric, against the unpruned model's if the item has no answer."""
    answers = (predictions[unpruned.name],) if item.metric == AGREEMENT else item.answers
    return METRICS[item.metric](predictions[config.name], answers)
