"""Token ids of questions and answers, as the chat template gives them, and the embeddings of words."""

from functools import cache
from typing import Any

from torch import Tensor

from vlmprune_export.pocket_model.language_model import END_ID


class Tokens:
    """Encodes each text once."""

    def __init__(self, tokenizer: Any) -> None:
        """Uses the checkpoint's tokenizer."""
        self.encode = cache(lambda text: tuple(tokenizer.encode(text, add_special_tokens=False)))

    def question(self, text: str) -> tuple[int, ...]:
        """Returns the tokens that follow the visual tokens."""
        ids: tuple[int, ...] = self.encode(f"Q: {text} A:")
        return ids

    def answer(self, word: str) -> tuple[int, ...]:
        """Returns the tokens of the answer and the end token."""
        return (*self.encode(f" {word}"), END_ID)

    def embedding_of(self, word: str, table: Tensor) -> Tensor:  # (V, D) -> (D,)
        """Returns the input embedding of a word as an answer begins with it; the mean of several tokens."""
        mean: Tensor = table[list(self.answer(word)[:-1])].float().mean(0)
        return mean
