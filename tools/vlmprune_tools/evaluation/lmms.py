"""A pruned model for the lmms-eval harness, which spreads work over machines with accelerate.

    accelerate launch -m lmms_eval --model vlmprune \\
        --model_args pretrained=./my-llava,keep=64,pruner=vlm-pruner,batch=1 --tasks pope --batch_size 1

The harness (0.7.3) finds the model through an entry point of this package. Decoding is always greedy, whatever a task
asks for.
"""

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, Protocol

from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.generate import MAX_TOKENS
from vlmprune_runtime.image_loading import load_image
from vlmprune_tools.evaluation.device import on_device
from vlmprune_tools.evaluation.evaluator import Evaluator
from vlmprune_tools.evaluation.loaded_model import DEFAULT_LAYER, load_staged_checkpoint
from vlmprune_tools.evaluation.pruning_config import UNPRUNED, PruningConfig, build_config
from vlmprune_tools.evaluation.variants import Variant

try:
    _base: Any = import_module("lmms_eval.api.model").lmms
except ModuleNotFoundError:  # without the harness the class can still be used and tested
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
        """`keep` None means unpruned. Options are `layer`, `device`, `batch_size` (1) and the pruner's settings."""
        super().__init__()
        self.task_dict: dict[str, Any] = {}
        self._rank, self._world_size, self.accelerator, device = workers()
        layer, device = int(options.pop("layer", DEFAULT_LAYER)), str(options.pop("device", None) or device)
        check_batch(options.pop("batch_size", 1), options.pop("max_batch_size", None))
        self.model = on_device(load_staged_checkpoint(pretrained, layer, lambda line: None), device)
        if keep is None:
            self.config = PruningConfig(UNPRUNED, self.model.visual_tokens)
        else:
            self.config = build_config(self.model, Variant(pruner, pruner, options), keep)

    @property
    def rank(self) -> int:
        """Returns the index of this worker."""
        return self._rank

    @property
    def world_size(self) -> int:
        """Returns the number of workers."""
        return self._world_size

    def generate_until(self, requests: Sequence[Instance]) -> list[str]:
        """Returns one prediction per request."""
        return [self.answer(*request.args) for request in requests]

    def answer(self, context: str, generation: dict[str, Any], doc_to_visual: Any, *document: Any) -> str:
        """Predicts the answer about the images of a document; the task's first stop string ends it.

        The images stand where the chat template puts them, in their order, wherever the task has its image tokens.
        """
        doc_id, task, split = document
        images = doc_to_visual(self.task_dict[task][split][doc_id])
        evaluator = Evaluator(self.model, int(generation.get("max_new_tokens") or MAX_TOKENS))
        question = context.replace(self.model.prompt.image_token, "").strip()
        try:
            encoded = [evaluator.encode_image(load_image(image)) for image in images]
            prediction = evaluator.predict(encoded, question, [self.config])[self.config.name].text
        except BadRequest as error:
            raise BadRequest(f"task {task!r}, document {doc_id}: {error}") from None
        return cut_at_stop(prediction, generation.get("until"))

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        """Raises `BadRequest`: only tasks that generate are supported."""
        raise BadRequest("this model answers by generating; tasks that compare likelihoods are not supported")

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list[str]:
        """Raises `BadRequest`: a model answers one question."""
        raise BadRequest("this model answers one question; tasks of several rounds are not supported")


def manifest() -> Any:
    """Returns a model's name and class, which lmms-eval asks the entry points of `lmms_eval.models` for."""
    model_manifest = import_module("lmms_eval.models.registry_v2").ModelManifest
    return model_manifest(model_id="vlmprune", simple_class_path=f"{VlmPrune.__module__}.{VlmPrune.__qualname__}")


def workers() -> tuple[int, int, Any, str]:
    """Returns the rank, the number of workers, their accelerator, and this worker's device."""
    accelerator = import_module("accelerate").Accelerator()
    return accelerator.process_index, accelerator.num_processes, accelerator, str(accelerator.device)


def check_batch(*sizes: object) -> None:
    """Raises `BadRequest` for a batch size other than 1."""
    if any(size not in (None, 1, "1") for size in sizes):
        raise BadRequest(f"batch_size: got {sizes[0]}; allowed: 1 (more workers answer more at once)")


def cut_at_stop(text: str, stops: str | Iterable[str] | None) -> str:
    """Returns the text before the first stop string.

    >>> cut_at_stop("a dog\\n\\nA cat", ["\\n\\n"]), cut_at_stop("a dog", None)
    ('a dog', 'a dog')
    """
    for stop in [stops] if isinstance(stops, str) else stops or ():
        text = text.split(stop)[0] if stop else text
    return text.strip()
