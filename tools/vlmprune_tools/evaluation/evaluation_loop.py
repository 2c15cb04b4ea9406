"""The evaluation loop: predicts every item of a dataset under every pruning config, and scores the predictions."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.progress import track
from vlmprune_runtime.question import SeenImage
from vlmprune_tools.evaluation.dataset import Dataset, Item
from vlmprune_tools.evaluation.evaluator import EncodedImage, Evaluator
from vlmprune_tools.evaluation.metrics import AGREEMENT, METRICS
from vlmprune_tools.evaluation.prediction_log import Kept, PredictionLog
from vlmprune_tools.evaluation.pruning_config import BLIND, PruningConfig

Predictions = Mapping[str, Mapping[str, str]]  # by item key, then by config name


def run_evaluation_loop(
    evaluator: Evaluator, dataset: Dataset, configs: Sequence[PruningConfig], log: PredictionLog
) -> None:
    """Predicts the items that the log does not hold yet, and adds them to it one by one."""
    names = {config.name for config in configs}
    pending = list({item.key: item for item in dataset.items if names - log.known(item.key)}.values())
    if not pending:
        return
    sighted = [config for config in configs if config.method != BLIND]
    blind = [config for config in configs if config.method == BLIND]
    mean = evaluator.encode_seen(mean_image(evaluator, dataset)) if blind else None
    encoder = ImageEncoder(evaluator, dataset)
    for index in track(range(len(pending)), f"evaluating {dataset.name}"):
        item = pending[index]
        with locating_errors(item):
            known = log.known(item.key)
            predictions = evaluator.predict(encoder.images(item), item.question, _without(sighted, known))
            if mean is not None:
                predictions |= evaluator.predict([mean] * len(item.images), item.question, _without(blind, known))
        adaptive = {config.name for config in configs if config.adaptive}
        kept = {name: predictions[name].kept for name in predictions.keys() & adaptive}
        log.add(item.key, {name: predicted.text for name, predicted in predictions.items()}, kept)


@dataclass
class ImageEncoder:
    """Keeps the visual embeddings of the last item's images: the vision stage runs once for all its questions."""

    evaluator: Evaluator
    dataset: Dataset
    _last: dict[str, EncodedImage] = field(default_factory=dict)

    def images(self, item: Item) -> list[EncodedImage]:
        """Returns the visual embeddings of the item's images, in their order."""
        self._last = {name: self._last[name] if name in self._last else self._encoded(name) for name in item.images}
        return [self._last[name] for name in item.images]

    def _encoded(self, name: str) -> EncodedImage:
        return self.evaluator.encode_image(self.dataset.load_image(name))


def _without(configs: Sequence[PruningConfig], names: Collection[str]) -> list[PruningConfig]:
    return [config for config in configs if config.name not in names]


def mean_image(evaluator: Evaluator, dataset: Dataset) -> SeenImage:
    """Returns the mean of the dataset's images as the model sees them, which the blind model is shown.

    Raises `BadRequest` where it does not see all of them in one shape.
    """
    total: npt.NDArray[np.float64] | float = 0.0
    for image in dataset.images:
        seen = evaluator.see(dataset.load_image(image))
        if len(evaluator.model.pipeline.grids) > 1 or len(seen.views) > 1:
            raise BadRequest("the blind model is shown a mean image; allowed: models that see all in one shape")
        total = total + seen.views[0].pixels.astype(np.float64)
    mean = np.asarray(total / len(dataset.images), dtype=np.float32)
    return replace(seen, views=(replace(seen.views[0], pixels=mean),))


@contextmanager
def locating_errors(item: Item) -> Iterator[None]:
    """Puts the item's location in front of the message of a `BadRequest` that the body raises."""
    try:
        yield
    except BadRequest as error:
        raise BadRequest(f"{item.location}: {error}") from None


def kept_of(dataset: Dataset, configs: Sequence[PruningConfig], log: PredictionLog) -> dict[str, Kept]:
    """Returns by the name of each adaptive config how many tokens stayed at each cut, as the mean over the items."""
    return {
        config.name: np.mean([log.kept[item.key][config.name] for item in dataset.items], 0).tolist()
        for config in configs
        if config.adaptive
    }


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
