"""Opens a dataset by its name, or a file of questions by its path."""

from collections.abc import Callable
from pathlib import Path

from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.evaluation.dataset import Dataset, DatasetOptions
from vlmprune_tools.evaluation.dataset_file import FORMATS, open_file
from vlmprune_tools.evaluation.synthetic import open_easy_vqa, open_scenes, open_signs

DATASETS: dict[str, Callable[[str, DatasetOptions], Dataset]] = {
    "scenes": open_scenes,
    "signs": open_signs,
    "easy-vqa": open_easy_vqa,
}


def open_dataset(name: str, options: DatasetOptions) -> Dataset:
    """Opens the dataset of that name, or the file at that path. Raises `BadRequest` with file and line."""
    if options.limit is not None and options.limit < 1:
        raise BadRequest(f"limit: got {options.limit}; allowed: 1 or more")
    if options.seed < 0:
        raise BadRequest(f"seed: got {options.seed}; allowed: 0 or more")
    if name in DATASETS:
        return DATASETS[name](name, options)
    if not Path(name).is_file():
        raise BadRequest(f"no data {name!r}; allowed: {', '.join(DATASETS)}, or a file ({', '.join(FORMATS)})")
    return open_file(Path(name), options)
