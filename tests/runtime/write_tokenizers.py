"""Writes `tests/golden/tokenizers`: small tokenizers of the kinds that models have, and what they make of texts.

Run `python tests/runtime/write_tokenizers.py` after a change here; runners in other languages are tested with the
files. The texts, in ten languages and some code, are in `texts.json`.
"""

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

GOLDEN = Path(__file__).parents[1] / "golden" / "tokenizers"
VOCABULARY = 700

TEXTS: list[str] = json.loads((GOLDEN / "texts.json").read_text())
SENTENCES = (f"The {thing} is {where} the bus." for thing in ("dog", "cat", "tree") for where in ("near", "left of"))
CORPUS = [*TEXTS, *SENTENCES] * 3

GPT4_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
GPT4_SPLIT = GPT4_WORDS + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN_SPLIT = GPT4_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
ADDED = [
    AddedToken("<image>", special=True, normalized=False),
    AddedToken("<end>", special=True, normalized=False),
    AddedToken("<pad>", special=True, normalized=False, lstrip=True, rstrip=True),
    AddedToken("bus.", special=False, normalized=True, single_word=True),
]


def byte_level(trained: Tokenizer) -> Tokenizer:
    """Trains a tokenizer whose letters are bytes."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    trained.decoder = decoders.ByteLevel()
    trained.train_from_iterator(CORPUS, trainer)
    return trained


def smollm() -> Tokenizer:
    """Single digits, then GPT-2's pattern."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return byte_level(made)


def qwen() -> Tokenizer:
    """NFC, its own pattern, bytes."""
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return byte_level(made)


def llama3() -> Tokenizer:
    """Whole words before merges, and a token before every text."""
    made = Tokenizer(models.BPE(ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(GPT4_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made = byte_level(made)
    made.add_special_tokens([AddedToken("<begin>", special=True, normalized=False)])
    begin = made.token_to_id("<begin>")
    made.post_processor = processors.TemplateProcessing("<begin> $A", special_tokens=[("<begin>", begin)])
    return made


def with_prefix_space() -> Tokenizer:
    """A space before every piece of text, as RoBERTa has it."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return byte_level(made)


def sentencepiece(made: Tokenizer) -> Tokenizer:
    """Trains a tokenizer whose letters are characters, with bytes for those that it lacks."""
    alphabet = [*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;?!'-()/▁"]
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet, limit_alphabet=90, show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    fields = json.loads(made.to_str())
    fields["added_tokens"] = fields["added_tokens"][:3]  # bytes are in the vocabulary, and texts are not split at them
    fields["model"].update(byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    made = Tokenizer.from_str(json.dumps(fields))
    made.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return made


def llama2() -> Tokenizer:
    """The mark for a space comes from normalizers, and texts are not split at all."""
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return sentencepiece(made)


def metaspace() -> Tokenizer:
    """The mark stands before the first word only."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
    return sentencepiece(made)


def clip() -> Tokenizer:
    """Words end in a mark of their own."""
    made = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    made.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    made.train_from_iterator(CORPUS, trainer)
    made.decoder = decoders.ByteLevel()
    return made


KINDS = (smollm, qwen, llama3, with_prefix_space, llama2, metaspace, clip)


def cases(tokenizer: Tokenizer) -> list[dict[str, object]]:
    """What a tokenizer makes of every text."""
    rows: list[dict[str, object]] = []
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        special = tokenizer.encode(text, add_special_tokens=True).ids
        rows.append({"text": text, "ids": ids, "with_special": special, "decoded": tokenizer.decode(ids)})
    return rows


def main() -> None:
    """Writes every tokenizer and its cases."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        tokenizer = kind()
        tokenizer.add_tokens(ADDED)
        name = kind.__name__
        (GOLDEN / f"{name}.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False))
        (GOLDEN / f"{name}_cases.json").write_text(json.dumps(cases(tokenizer), ensure_ascii=False, indent=0))


if __name__ == "__main__":
    main()
