"""Exact-match accuracy of the Hugging Face model: greedy, with all visual tokens, each question asked alone.

The prefix up to the image is computed once, and its cache is cut back after each question. Under causal attention
that equals `generate` on each question; a test compares the two.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from vlmprune_export.pocket_model.language_model import END_ID
from vlmprune_runtime.progress import track
from vlmprune_tools.json_lines import append_json_line, read_json_lines
from vlmprune_tools.proportion import wilson_interval
from vlmprune_tools.scenes.paraphrases import paraphrase
from vlmprune_tools.scenes.questions import questions
from vlmprune_tools.scenes.scene import Question, RenderedScene
from vlmprune_tools.scenes.sources import Render

MAX_ANSWER_TOKENS = 6


class Prediction(NamedTuple):
    """A question, its right answer, and the model's prediction."""

    family: str
    question: str
    answer: str
    prediction: str


class HuggingFaceEvaluator:
    """Predicts answers about images with a Hugging Face model."""

    def __init__(self, model: Any, processor: Any, blind: bool = False) -> None:
        """Takes over the model; a blind evaluator shows a grey image, whose accuracy is the floor of every figure."""
        self.model, self.processor, self.blind = model.eval(), processor, blind

    @torch.inference_mode()
    def predict(self, image: Image.Image, asked: Sequence[Question]) -> list[Prediction]:
        """Predicts the answers to some questions about one image."""
        image = Image.new("RGB", image.size, "gray") if self.blind else image
        inputs = self.encode(image, "")
        shared = int((inputs["input_ids"][0] == self.model.config.image_token_id).nonzero().max()) + 1
        cache = self.model(
            input_ids=inputs["input_ids"][:, :shared],
            pixel_values=inputs["pixel_values"].to(self.model.dtype),
            use_cache=True,
        ).past_key_values
        predictions = []
        for question in asked:
            suffix = self.encode(image, question.text)["input_ids"][:, shared:]
            predictions.append(Prediction(*question, self.decode_greedily(cache, suffix)))
            cache.crop(shared - cache.get_seq_length())
        return predictions

    def encode(self, image: Image.Image, question: str) -> Any:
        """Returns the model inputs for one question about an image, through the processor's chat template."""
        content = [{"type": "image"}, {"type": "text", "text": question}]
        text = self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        return self.processor(text=text, images=image, return_tensors="pt")

    def decode_greedily(self, cache: Any, tokens: torch.Tensor) -> str:
        """Returns the text of the most probable tokens up to the end token; `cache` grows."""
        token_ids: list[int] = []
        for _ in range(MAX_ANSWER_TOKENS):
            logits = self.model(input_ids=tokens, past_key_values=cache, use_cache=True).logits
            token = int(logits[0, -1].argmax())
            if token == END_ID:
                break
            token_ids.append(token)
            tokens = torch.tensor([[token]])
        return str(self.processor.decode(token_ids)).strip()


@dataclass(frozen=True)
class QuestionSet:
    """Images of a split and the questions about each, as they are or paraphrased."""

    render: Render
    split: str
    concepts: Sequence[str]
    paraphrased: bool = False

    def questions(self, index: int, rendered: RenderedScene) -> list[Question]:
        """Returns the questions about image `index`."""
        rng = random.Random(f"{self.split}/questions/{index}")
        asked = questions(rendered.scene, self.concepts, rng)
        return [paraphrase(question, rng, held_out=True) for question in asked] if self.paraphrased else asked


def predict_all(
    evaluator: HuggingFaceEvaluator, question_set: QuestionSet, indices: Sequence[int], log: Path
) -> list[Prediction]:
    """Predicts all answers about some images; images in `log` are not evaluated again."""
    log.parent.mkdir(parents=True, exist_ok=True)
    done = {record["index"]: record["asked"] for record in read_json_lines(log)}
    for index in track([index for index in indices if index not in done], f"evaluating {question_set.split}"):
        rendered = question_set.render(question_set.split, index)
        image = Image.fromarray(rendered.pixels)
        done[index] = evaluator.predict(image, question_set.questions(index, rendered))
        append_json_line(log, {"index": index, "asked": done[index]})
    return [Prediction(*row) for index in indices for row in done[index]]


def score_families(predictions: Iterable[Prediction]) -> dict[str, dict[str, Any]]:
    """Returns per family the figures of `score_family`."""
    families: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        families.setdefault(prediction.family, []).append(prediction)
    return {family: score_family(rows) for family, rows in sorted(families.items())}


def score_family(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Returns right, asked, accuracy, its 95 % interval, and the accuracy of the most frequent answer."""
    right = sum(row.prediction in row.answer.split("|") for row in predictions)
    low, high = wilson_interval(right, len(predictions))
    most_frequent = Counter(row.answer for row in predictions).most_common(1)[0][1]
    return {
        "right": right,
        "asked": len(predictions),
        "accuracy": round(right / len(predictions), 4),
        "interval": [round(low, 4), round(high, 4)],
        "most_frequent_answer": round(most_frequent / len(predictions), 4),
    }
