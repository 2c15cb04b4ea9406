"""Calibration data: questions about pictures, from which a compression is fitted to the inputs of the layers.

The pictures are parts and mirror images of the package's sample; no check asks these questions.
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
from vlmprune_runtime.prefill import prefill
from vlmprune_runtime.preprocess import preprocess
from vlmprune_runtime.prompt import EncodedPrompt, encode_prompt
from vlmprune_runtime.sample import SAMPLE_IMAGE
from vlmprune_runtime.schema import ImageSpec, Pipeline, PromptSpec

VISUAL_WEIGHT = 0.1  # of a visual row against a text row: visual rows are many, and text rows give the answers


class Rows(NamedTuple):
    """Input rows of a layer, with their positions and weights."""

    hidden: Tensor  # (S, D)
    positions: Tensor  # (S,)
    weights: Tensor  # (S,)


@dataclass(frozen=True)
class Calibration:
    """Encoded questions, each with its pixels (1, 3, H, W)."""

    questions: tuple[tuple[EncodedPrompt, NDArray[np.float32]], ...]

    def tail_rows(self, staged: StagedModel) -> Iterator[Rows]:
        """Yields the input rows of the tail for each question, pruned and unpruned."""
        for prompt, pixels in self.questions:
            for prune in (True, False):
                engine = _TailRecorder(staged)
                prefill(staged.pipeline, engine, prompt, [pixels], prune=prune)
                weights = torch.ones(len(engine.positions))
                for start, stop in prompt.spans:
                    weights[(engine.positions >= start) & (engine.positions < stop)] = VISUAL_WEIGHT
                yield Rows(engine.hidden, engine.positions, weights)


def sample_calibration(pipeline: Pipeline, tokenizer: Tokenizer, prompt: PromptSpec, image: ImageSpec) -> Calibration:
    """Returns four questions about four views of the sample picture."""
    return Calibration(
        tuple(
            (encode_prompt(tokenizer, prompt, pipeline.view_tokens, question), preprocess(view, image))
            for question, view in zip(_QUESTIONS, _views(load_image(SAMPLE_IMAGE)), strict=True)
        )
    )


_QUESTIONS = (
    "What is in the picture?",
    "How many objects are there?",
    "What color is the background? Answer in one word.",
    "Describe what can be seen here, and where it is.",
)


def _views(picture: Image.Image) -> tuple[Image.Image, ...]:
    width, height = picture.size
    return (
        ImageOps.mirror(picture),
        picture.crop((0, 0, width // 2, height)),
        ImageOps.mirror(picture.crop((width // 2, 0, width, height))),
        ImageOps.flip(picture.crop((width // 4, height // 4, width * 3 // 4, height * 3 // 4))),
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
