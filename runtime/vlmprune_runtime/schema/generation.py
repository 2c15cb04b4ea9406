"""Describes how the next token is chosen, as data that a runner in any language follows literally."""

from typing import Annotated

from pydantic import Field

from vlmprune_runtime.schema.base import Positive, Record

TokenId = Annotated[int, Field(ge=0)]
TokenIds = tuple[TokenId, ...]


class Generation(Record):
    """Holds the checkpoint's own settings, in the order in which they change the logits of the next token.

    Ids outside the logits are ignored. The logit of a forbidden token becomes minus infinity. The sequence is
    the whole prompt, with the image token once per visual token whether or not it was pruned, and the answer so far.

    1. `repetition_penalty`: logits of all tokens in the sequence are divided by it if positive, else multiplied.
    2. `no_repeat_ngram_size` n above 0: a token that would complete n tokens which stand in the sequence is forbidden.
    3. `bad_words_ids`: the last token of each is forbidden where the sequence ends with those before it.
    4. `min_length` of the sequence and `min_new_tokens` of the answer: below them stop tokens are forbidden.
    5. `forced_stop_token_ids`: if not empty, the last token that the limits below allow must be one of them (logit 0).
    6. `suppress_token_ids` are forbidden; `begin_suppress_token_ids` as an answer's first token.

    Without `do_sample` the largest logit wins, the lowest id among equals. With it: logits / `temperature`; those below
    the `top_k`-th largest are dropped (0: none); then the least likely ones are, as long as together they have at most
    1 - `top_p`; then those below `min_p` times the likeliest; one is drawn from the rest.

    An answer ends before one of `stop_token_ids`, after `max_new_tokens`, or, where that is null, when the sequence has
    `max_length` tokens; where both are null the runner sets the limit.
    """

    stop_token_ids: TokenIds
    max_new_tokens: Positive | None = None
    max_length: Positive | None = None
    repetition_penalty: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    no_repeat_ngram_size: Annotated[int, Field(ge=0)] = 0
    bad_words_ids: tuple[Annotated[TokenIds, Field(min_length=1)], ...] = ()
    min_length: Annotated[int, Field(ge=0)] = 0
    min_new_tokens: Annotated[int, Field(ge=0)] = 0
    forced_stop_token_ids: TokenIds = ()
    suppress_token_ids: TokenIds = ()
    begin_suppress_token_ids: TokenIds = ()
    do_sample: bool = False
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0

    def limit(self, prompt_tokens: int, otherwise: int) -> int:
        """Returns how many tokens an answer may have, at least one.

        >>> Generation(stop_token_ids=(), max_length=100).limit(90, otherwise=32)
        10
        """
        if self.max_new_tokens is not None:
            return self.max_new_tokens
        return otherwise if self.max_length is None else max(1, self.max_length - prompt_tokens)
