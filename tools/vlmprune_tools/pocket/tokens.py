"""Token ids of questions and answers, as the chat template gives them."""

from functools import cache
from typing import Any

from vlmprune_export.pocket.language import END_ID


class Tokens:
    """Encodes once what is asked often."""

    def __init__(self, tokenizer: Any) -> None:
        """Use the checkpoint's tokenizer."""
        self.encode = cache(lambda text: tuple(tokenizer.encode(text, add_special_tokens=False)))

    def question(self, text: str) -> tuple[int, ...]:
        """What follows the visual tokens."""
        ids: tuple[int, ...] = self.encode(f"Q: {text} A:")
        return ids

    def answer(self, word: str) -> tuple[int, ...]:
        """The answer and the end token."""
        return (*self.encode(f" {word}"), END_ID)
