"""Asks calibration questions about images, from which a compression is fitted to the inputs of the layers.

The images are parts and mirror images of the package's sample; no check asks these questions.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tokenizers import Tokenizer
from torch import Tensor

from vlmprune_export.staged_model import StagedModel
from vlmprune_export.torch_engine import TorchEngine
from vlmprune_runtime.image_loading import load_image
from vlmprune_runtime.positions import TEXT
from vlmprune_runtime.prefill import start_prefill
from vlmprune_runtime.question import Question, ask
from vlmprune_runtime.sample import SAMPLE_IMAGE
from vlmprune_runtime.schema import ImageSpec, Pipeline, PromptSpec

VISUAL_WEIGHT = 0.1  # of a visual row against a text row: visual rows are many, and text rows give the answers


class Rows(NamedTuple):
    """Input rows of a layer, with their positions and weights."""

    hidden: Tensor  # (S, D)
    positions: Tensor  # (S,), or (axes, S)
    weights: Tensor  # (S,)


@dataclass(frozen=True)
class Calibration:
    """Questions with their images."""

    questions: tuple[Question, ...]

    def tail_rows(self, staged: StagedModel) -> Iterator[Rows]:
        """Yields the input rows of the tail for each question, pruned and unpruned."""
        for question in self.questions:
            for prune in (True, False):
                engine = _TailRecorder(staged)
                run = start_prefill(staged.pipeline, engine, question.prompt, question.pixels)
                for name in staged.pipeline.prefill:
                    if prune or staged.pipeline.stage(name).role != "prune":
                        for _ in run.run(name):
                            pass
                weights = np.where(run.tokens.view == TEXT, 1.0, VISUAL_WEIGHT).astype(np.float32)
                yield Rows(engine.hidden, engine.positions, torch.from_numpy(weights))


def sample_calibration(pipeline: Pipeline, tokenizer: Tokenizer, prompt: PromptSpec, image: ImageSpec) -> Calibration:
    """Returns four questions about four views of the sample image."""
    return Calibration(
        tuple(
            ask(pipeline, image, (tokenizer, prompt), text, [view])
            for text, view in zip(_QUESTIONS, _views(load_image(SAMPLE_IMAGE)), strict=True)
        )
    )


_QUESTIONS = (
    "What is in the picture?",
    "How many objects are there?",
    "What color is the background? Answer in one word.",
    "Describe what can be seen here, and where it is.",
)


def _views(image: Image.Image) -> tuple[Image.Image, ...]:
    width, height = image.size
    return (
        ImageOps.mirror(image),
        image.crop((0, 0, width // 2, height)),
        ImageOps.mirror(image.crop((width // 2, 0, width, height))),
        ImageOps.flip(image.crop((width // 4, height // 4, width * 3 // 4, height * 3 // 4))),
    )


class _TailRecorder(TorchEngine):
    """Records the inputs of the tail instead of running it."""

    hidden: Tensor
    positions: Tensor

    def run(self, stage: str, inputs: Mapping[str, NDArray[Any]], *, grid: int = 0) -> dict[str, NDArray[Any]]:
        """Returns the outputs of one stage, and zeros for the tail."""
        entry = self.staged.stages[stage]
        if entry is not self.staged.tail:
            return super().run(stage, inputs, grid=grid)
        self.hidden, self.positions, _ = (torch.from_numpy(inputs[tensor.name]) for tensor in entry.declared.inputs)
        return {"logits": np.zeros(1, np.float32)}
