"""Exact-match accuracy of the real Hugging Face model: greedy, all visual tokens, each question asked alone.

The image's prefix is computed once and its cache cut back after each question, which under causal attention
is what `generate` does with each question on its own; a test compares the two.
"""

import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from vlmprune_export.pocket.language import END_ID
from vlmprune_tools.pocket.paraphrases import reworded
from vlmprune_tools.pocket.questions import Question, questions
from vlmprune_tools.pocket.scenes import Drawn
from vlmprune_tools.pocket.sources import Draw
from vlmprune_tools.progress import track
from vlmprune_tools.proportion import wilson_interval

MAX_ANSWER_TOKENS = 6


@dataclass(frozen=True)
class Asked:
    """One question, the right answer, and what the model said."""

    family: str
    question: str
    answer: str
    said: str


class Examiner:
    """Asks a model about pictures."""

    def __init__(self, model: Any, processor: Any, blind: bool = False) -> None:
        """A blind examiner shows a grey picture instead: the floor of every figure."""
        self.model, self.processor, self.blind = model.eval(), processor, blind

    @torch.inference_mode()
    def ask(self, image: Image.Image, asked: Sequence[Question]) -> list[Asked]:
        """The answers to some questions about one picture."""
        image = Image.new("RGB", image.size, "gray") if self.blind else image
        inputs = self.encode(image, "")
        shared = int((inputs["input_ids"][0] == self.model.config.image_token_id).nonzero().max()) + 1
        cache = self.model(
            input_ids=inputs["input_ids"][:, :shared],
            pixel_values=inputs["pixel_values"].to(self.model.dtype),
            use_cache=True,
        ).past_key_values
        found = []
        for family, question, answer in asked:
            tail = self.encode(image, question)["input_ids"][:, shared:]
            found.append(Asked(family, question, answer, self.greedy(cache, tail)))
            cache.crop(shared - cache.get_seq_length())
        return found

    def encode(self, image: Image.Image, question: str) -> Any:
        """Model inputs for one question about a picture, through the processor's chat template."""
        content = [{"type": "image"}, {"type": "text", "text": question}]
        text = self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        return self.processor(text=text, images=image, return_tensors="pt")

    def greedy(self, cache: Any, tokens: torch.Tensor) -> str:
        """The text of the most probable tokens up to the end token; `cache` grows."""
        said: list[int] = []
        for _ in range(MAX_ANSWER_TOKENS):
            logits = self.model(input_ids=tokens, past_key_values=cache, use_cache=True).logits
            chosen = int(logits[0, -1].argmax())
            if chosen == END_ID:
                break
            said.append(chosen)
            tokens = torch.tensor([[chosen]])
        return str(self.processor.decode(said)).strip()


@dataclass(frozen=True)
class Sheet:
    """What is asked: pictures of a split, and the questions about each, as they are or in other words."""

    draw: Draw
    split: str
    concepts: Sequence[str]
    reworded: bool = False

    def questions(self, index: int, drawn: Drawn) -> list[Question]:
        """The questions about picture `index`."""
        rng = random.Random(f"{self.split}/questions/{index}")
        asked = questions(drawn.scene, self.concepts, rng)
        return [reworded(item, rng, held_out=True) for item in asked] if self.reworded else asked


def examine(examiner: Examiner, sheet: Sheet, indices: Sequence[int], log: Path) -> list[Asked]:
    """Ask all questions about some pictures; answers in `log` are not asked for again."""
    log.parent.mkdir(parents=True, exist_ok=True)
    done = {record["index"]: record["asked"] for record in read_lines(log)}
    for index in track([index for index in indices if index not in done], f"asking {sheet.split}"):
        drawn = sheet.draw(sheet.split, index)
        answers = examiner.ask(picture_of(drawn), sheet.questions(index, drawn))
        done[index] = [[item.family, item.question, item.answer, item.said] for item in answers]
        with log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"index": index, "asked": done[index]}) + "\n")
    return [Asked(*row) for index in indices for row in done[index]]


def picture_of(drawn: Drawn) -> Image.Image:
    """The pixels as an image."""
    return Image.fromarray(drawn.pixels)


def read_lines(log: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; a last one that a kill cut off is taken out."""
    if not log.is_file():
        return []
    *lines, torn = log.read_text(encoding="utf-8").split("\n")
    if torn:
        log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return [json.loads(line) for line in lines]


def score(asked: Iterable[Asked]) -> dict[str, dict[str, Any]]:
    """Per family: right, asked, fraction, 95 % interval, and what the most frequent answer would get."""
    families: dict[str, list[Asked]] = {}
    for item in asked:
        families.setdefault(item.family, []).append(item)
    return {family: score_family(items) for family, items in sorted(families.items())}


def score_family(items: Sequence[Asked]) -> dict[str, Any]:
    """The figures of one family."""
    right = sum(item.said in item.answer.split("|") for item in items)
    low, high = wilson_interval(right, len(items))
    usual = Counter(item.answer for item in items).most_common(1)[0][1]
    return {
        "right": right,
        "asked": len(items),
        "accuracy": round(right / len(items), 4),
        "interval": [round(low, 4), round(high, 4)],
        "most_frequent_answer": round(usual / len(items), 4),
    }
