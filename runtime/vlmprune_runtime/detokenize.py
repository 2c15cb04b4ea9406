"""Turns tokens into text as they are generated, in whole characters only."""

from dataclasses import dataclass, field

from tokenizers import Tokenizer

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass
class TextStream:
    """Returns the text of one answer piece by piece; all pieces together are `text`.

    A token's text depends on its neighbours (leading spaces, characters of several tokens), so the tokens since the
    last whole piece are decoded again together with the tokens of that piece.
    """

    tokenizer: Tokenizer
    token_ids: list[int] = field(default_factory=list)
    _piece_start: int = 0
    _piece_stop: int = 0
    _begun: bool = False

    @property
    def text(self) -> str:
        """The text of all tokens, without the space that most answers begin with."""
        return self.tokenizer.decode(self.token_ids).lstrip()

    def push(self, token_id: int) -> str:
        """Adds a token and returns the text that became whole with it, which may be empty."""
        self.token_ids.append(token_id)
        piece = self._pending()
        if not piece or piece.endswith(REPLACEMENT):
            return ""
        self._piece_start, self._piece_stop = self._piece_stop, len(self.token_ids)
        return self._stripped(piece)

    def finish(self) -> str:
        """Returns the remaining text, broken characters included."""
        piece = self._pending()
        self._piece_start = self._piece_stop = len(self.token_ids)
        return self._stripped(piece)

    def _stripped(self, piece: str) -> str:
        text = piece if self._begun else piece.lstrip()
        self._begun = self._begun or bool(text)
        return text

    def _pending(self) -> str:
        """Returns the text of the tokens behind the last whole piece."""
        last_piece = self.tokenizer.decode(self.token_ids[self._piece_start : self._piece_stop])
        return self.tokenizer.decode(self.token_ids[self._piece_start :])[len(last_piece) :]
