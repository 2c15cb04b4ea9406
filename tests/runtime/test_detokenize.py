"""Pieces are whole characters, and together they are the text."""

from itertools import chain

from handmade_graphs import tokenizer
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from vlmprune_runtime.detokenize import REPLACEMENT, TextStream


def pieces(made: Tokenizer, token_ids: list[int]) -> list[str]:
    stream = TextStream(made)
    return [stream.push(token) for token in token_ids] + [stream.finish()]


def llama_like() -> Tokenizer:
    """SentencePiece manners: a space before each word, single bytes for what is not in the vocabulary."""
    words = ["\u2581Hello", "\u2581world", "ly", "!", "\u2581"]
    vocab = {word: place for place, word in enumerate(words)}
    vocab |= {f"<0x{byte:02X}>": len(words) + byte for byte in range(256)}
    made = Tokenizer(models.BPE(vocab, [], byte_fallback=True))
    made.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return made


LLAMA, BYTES = llama_like(), tokenizer()


def test_emoji_of_four_tokens_comes_as_one() -> None:
    token_ids = BYTES.encode("a\N{GRINNING FACE}\u6f22b").ids
    assert len(token_ids) == 9
    assert [piece for piece in pieces(BYTES, token_ids) if piece] == ["a", "\N{GRINNING FACE}", "\u6f22", "b"]


def test_leading_space_goes_and_inner_spaces_stay() -> None:
    assert pieces(LLAMA, [0, 1, 2, 3]) == ["Hello", " world", "ly", "!", ""]


def test_answers_begin_without_a_space() -> None:
    assert "".join(pieces(BYTES, BYTES.encode(" \n dog  and\n").ids)) == "dog  and\n"


def test_bytes_between_words() -> None:
    face = [5 + byte for byte in "\N{GRINNING FACE}".encode()]
    assert pieces(LLAMA, [0, *face, 1]) == ["Hello", "", "", "", "\N{GRINNING FACE}", " world", ""]


def test_broken_end_is_told_at_the_end() -> None:
    token_ids = BYTES.encode("a\N{GRINNING FACE}").ids[:-1]
    *before, last = pieces(BYTES, token_ids)
    assert "".join(before) == "a"
    assert set(last) == {REPLACEMENT}


spelled = st.characters(exclude_categories=["Cs"]).map(lambda letter: [5 + byte for byte in letter.encode()])
words = st.integers(0, 4).map(lambda word: [word])


@given(st.lists(spelled | words, max_size=12).map(lambda parts: [*chain(*parts)]))
def test_pieces_together_are_the_text_in_sentencepiece_manners(token_ids: list[int]) -> None:
    assert "".join(pieces(LLAMA, token_ids)) == LLAMA.decode(token_ids).lstrip()


@given(st.lists(st.integers(0, 257), max_size=25))
def test_pieces_together_are_the_text_in_bytes(token_ids: list[int]) -> None:
    assert "".join(pieces(BYTES, token_ids)) == BYTES.decode(token_ids).lstrip()
