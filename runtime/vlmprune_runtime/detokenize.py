"""Text from tokens as they come, whole characters only."""

from dataclasses import dataclass, field

from tokenizers import Tokenizer

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass
class TextStream:
    """Hands out the text of one answer piece by piece; all pieces together are `text`.

    A token's text depends on its neighbours (leading spaces, characters of several tokens), so the text
    since the last whole piece is decoded again together with that piece.
    """

    tokenizer: Tokenizer
    token_ids: list[int] = field(default_factory=list)
    _before: int = 0
    _told: int = 0
    _begun: bool = False

    @property
    def text(self) -> str:
        """The text of all tokens, without the space that most answers begin with."""
        return self.tokenizer.decode(self.token_ids).lstrip()

    def push(self, token_id: int) -> str:
        """The text that is whole after one more token, perhaps none."""
        self.token_ids.append(token_id)
        piece = self._untold()
        if not piece or piece.endswith(REPLACEMENT):
            return ""
        self._before, self._told = self._told, len(self.token_ids)
        return self._stripped(piece)

    def finish(self) -> str:
        """What is left, broken characters included."""
        piece = self._untold()
        self._before = self._told = len(self.token_ids)
        return self._stripped(piece)

    def _stripped(self, piece: str) -> str:
        shown = piece if self._begun else piece.lstrip()
        self._begun = self._begun or bool(shown)
        return shown

    def _untold(self) -> str:
        told = self.tokenizer.decode(self.token_ids[self._before : self._told])
        return self.tokenizer.decode(self.token_ids[self._before :])[len(told) :]
