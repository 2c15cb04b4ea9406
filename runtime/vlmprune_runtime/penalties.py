"""Applies a bundle's generation settings to the logits before a token is chosen, as Hugging Face `generate` does.

Functions that take `scores` (V,) change them in place; `sequence` (S,) is the prompt and the answer so far.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.schema import Generation

Logits = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class AnswerProgress:
    """Holds the sequence so far (S,), how many of its tokens belong to the answer, and the limit of their number."""

    sequence: Ids
    answer_tokens: int
    limit: int


def apply_penalties(
    logits: npt.NDArray[np.floating], progress: AnswerProgress, settings: Generation
) -> Logits:  # (V,) -> (V,)
    """Returns a copy of the logits after every penalty and ban of the settings, in the order of `Generation`."""
    scores, sequence = logits.astype(np.float32), progress.sequence
    penalise_repetition(scores, sequence, settings.repetition_penalty)
    suppress(scores, repeated_ngrams(sequence, settings.no_repeat_ngram_size))
    suppress(scores, bad_word_tokens(sequence, settings.bad_words_ids, settings.stop_token_ids))
    if len(sequence) < settings.min_length or progress.answer_tokens < settings.min_new_tokens:
        suppress(scores, settings.stop_token_ids)
    if settings.forced_stop_token_ids and progress.answer_tokens == progress.limit - 1:
        scores[:] = -np.inf
        scores[_in_vocabulary(settings.forced_stop_token_ids, scores)] = 0
    suppress(scores, settings.suppress_token_ids)
    if progress.answer_tokens == 0:
        suppress(scores, settings.begin_suppress_token_ids)
    return scores


def penalise_repetition(scores: Logits, sequence: Ids, penalty: float) -> None:
    """Makes the tokens of the sequence less likely.

    >>> scores = np.array([2.0, -2.0, 1.0], np.float32)
    >>> penalise_repetition(scores, np.array([0, 1, 1]), 2.0)
    >>> scores.tolist()
    [1.0, -4.0, 1.0]
    """
    if penalty == 1:
        return
    seen, factor = np.zeros(len(scores), dtype=bool), np.float32(penalty)
    seen[_in_vocabulary(sequence, scores)] = True  # np.unique would import numpy.ma within the first token's time
    scores[seen] = np.where(scores[seen] < 0, scores[seen] * factor, scores[seen] / factor)


def repeated_ngrams(sequence: Ids, size: int) -> Ids:
    """Returns the tokens that would repeat an n-gram of `size` tokens which the sequence has already.

    >>> repeated_ngrams(np.array([5, 6, 7, 5, 6]), 3).tolist()
    [7]
    """
    if size == 0 or len(sequence) < size:
        return np.zeros(0, np.int64)
    grams = np.lib.stride_tricks.sliding_window_view(sequence, size)
    last = sequence[len(sequence) - size + 1 :]
    repeated: Ids = grams[(grams[:, :-1] == last).all(axis=1), -1]
    return repeated


def bad_word_tokens(sequence: Ids, words: Iterable[Sequence[int]], stops: Sequence[int]) -> list[int]:
    """Returns the last tokens of the bad words whose other tokens end the sequence; a stop token alone is no bad word.

    >>> bad_word_tokens(np.array([1, 2]), [(2, 9), (3, 8), (7,), (0,)], stops=[0])
    [9, 7]
    """
    ends = []
    for *before, last in words:
        alone = not before
        if (alone and last not in stops) or (before and sequence[-len(before) :].tolist() == before):
            ends.append(last)
    return ends


def suppress(scores: Logits, token_ids: Sequence[int] | Ids) -> None:
    """Sets the scores of these tokens to minus infinity; ids outside the vocabulary are ignored."""
    scores[_in_vocabulary(token_ids, scores)] = -np.inf


def _in_vocabulary(token_ids: Sequence[int] | Ids, scores: Logits) -> Ids:
    ids = np.asarray(token_ids, dtype=np.int64)
    return ids[ids < len(scores)]
