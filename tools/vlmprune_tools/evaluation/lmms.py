"""A pruned model for the lmms-eval harness, which spreads work over machines with accelerate.

    accelerate launch -m lmms_eval --model vlmprune \\
        --model_args pretrained=./my-llava,keep=64,pruner=vlm-pruner,batch=1 --tasks pope --batch_size 1

The harness (0.7.3) finds it by itself, through an entry point of this package. Answers are greedy whatever a task asks
for.
"""

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, Protocol

from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.generate import MAX_TOKENS
from vlmprune_runtime.picture import load_image
from vlmprune_tools.evaluation.asking import Asker
from vlmprune_tools.evaluation.device import on_device
from vlmprune_tools.evaluation.subject import DEFAULT_LAYER, checkpoint_subject
from vlmprune_tools.evaluation.variants import Variant
from vlmprune_tools.evaluation.ways import UNPRUNED, Way, way_of

try:
    _base: Any = import_module("lmms_eval.api.model").lmms
except ModuleNotFoundError:  # the class can still be used and tested by itself
    _base = object


class Instance(Protocol):
    """A request of the harness: (context, generation settings, doc_to_visual, doc_id, task, split)."""

    args: tuple[Any, ...]


class VlmPrune(_base):  # type: ignore[misc]
    """A staged model with a pruner between its layers, behind lmms-eval's interface."""

    is_simple = True

    def __init__(
        self, pretrained: str = "pocket", keep: int | None = None, pruner: str = "vlm-pruner", **options: Any
    ) -> None:
        """`keep` None: unpruned. Options: `layer`, `device`, `batch_size` (1), and the pruner's settings."""
        super().__init__()
        self.task_dict: dict[str, Any] = {}
        self._rank, self._world_size, self.accelerator, device = workers()
        layer, device = int(options.pop("layer", DEFAULT_LAYER)), str(options.pop("device", None) or device)
        check_batch(options.pop("batch_size", 1), options.pop("max_batch_size", None))
        self.subject = on_device(checkpoint_subject(pretrained, layer, lambda line: None), device)
        variant = Variant(pruner, pruner, options)
        self.way = Way(UNPRUNED, self.subject.visual_tokens) if keep is None else way_of(self.subject, variant, keep)

    @property
    def rank(self) -> int:
        """Which of the workers this is."""
        return self._rank

    @property
    def world_size(self) -> int:
        """How many workers there are."""
        return self._world_size

    def generate_until(self, requests: Sequence[Instance]) -> list[str]:
        """One answer a request."""
        return [self.answer(*request.args) for request in requests]

    def answer(self, context: str, wishes: dict[str, Any], doc_to_visual: Any, *document: Any) -> str:
        """The answer about the one picture of a document, cut at the first of the task's own stop strings."""
        doc_id, task, split = document
        pictures = doc_to_visual(self.task_dict[task][split][doc_id])
        if len(pictures) != 1:
            raise BadRequest(f"task {task!r}, document {doc_id}: got {len(pictures)} pictures; allowed: one")
        asker = Asker(self.subject, int(wishes.get("max_new_tokens") or MAX_TOKENS))
        visual = asker.visual(asker.pixels(load_image(pictures[0])))
        question = context.replace(self.subject.prompt.image_token, "").strip()
        return until(asker.answers(visual, question, [self.way])[self.way.name], wishes.get("until"))

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        """Not there: choose a task that generates."""
        raise BadRequest("this model answers by generating; tasks that compare likelihoods are not supported")

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list[str]:
        """Not there: one question about one picture."""
        raise BadRequest("this model answers one question; tasks of several rounds are not supported")


def manifest() -> Any:
    """What lmms-eval asks the entry points of its group `lmms_eval.models` for: a model's name and its class."""
    known = import_module("lmms_eval.models.registry_v2").ModelManifest
    return known(model_id="vlmprune", simple_class_path=f"{VlmPrune.__module__}.{VlmPrune.__qualname__}")


def workers() -> tuple[int, int, Any, str]:
    """Rank, number of workers, what coordinates them, and this one's device."""
    accelerator = import_module("accelerate").Accelerator()
    return accelerator.process_index, accelerator.num_processes, accelerator, str(accelerator.device)


def check_batch(*sizes: object) -> None:
    """Refuse what would not be done."""
    if any(size not in (None, 1, "1") for size in sizes):
        raise BadRequest(f"batch_size: got {sizes[0]}; allowed: 1 (more workers answer more at once)")


def until(text: str, stops: str | Iterable[str] | None) -> str:
    """What comes before the first stop string.

    >>> until("a dog\\n\\nA cat", ["\\n\\n"]), until("a dog", None)
    ('a dog', 'a dog')
    """
    for stop in [stops] if isinstance(stops, str) else stops or ():
        text = text.split(stop)[0] if stop else text
    return text.strip()
