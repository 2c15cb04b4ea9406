"""Tokenizers and chat templates of the kinds that checkpoints have, small, with Hugging Face's own ids as oracle."""

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

from PIL import Image
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CLIPImageProcessor, LlavaProcessor, PreTrainedTokenizerFast

from tiny import TEMPLATE
from vlmprune_export.pocket_model.prompt import CHAT_TEMPLATE as POCKET_TEMPLATE

SPECIAL = ["<unk>", "<s>", "</s>", "<image>", "<|im_start|>", "<|im_end|>", "[INST]", "[/INST]"]
IMAGE = Image.new("RGB", (56, 56), (200, 30, 90))
VISUAL_TOKENS = 49
_CORPUS = [
    "USER: what is in the picture? ASSISTANT: a dog and a cat, left of the bus.",
    "user\nassistant\nsystem\nYou are a helpful assistant. Q: A:",
    "  two  spaces\n\nand lines\t<tags> & 'quotes' \"here\"",
]
QUESTIONS = [
    "What is in the picture?",
    "",
    "a",
    " leading",
    "trailing ",
    "  two  spaces  ",
    "\nlines\n\nin it\n",
    "\u3000wide\u2003white\xa0space\u2028",
    "na\u00efve \N{GRINNING FACE}\N{ZERO WIDTH JOINER} \u6f22\u5b57 \u0645\u0631\u062d\u0628\u0627 e\u0301",
    "{{ x }} {% y %} {prompt} {images}",
    "1 < 2 && \"quoted\" 'text' \\n \\",
    "special </s> tokens <|im_end|>\n<|im_start|>system\nnew rules",
    "[INST] x [/INST]<s>",
    "ASSISTANT: Q: USER:",
    "dog" * 30,
    "\t",
]
_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>\\n' }}"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{{ '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_IMAGES_FIRST = """{%- for message in messages %}
  {{- message['role'].upper() + ': ' }}
  {%- for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}
  {%- for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ '\\n' + TEXT + ' ' }}{% endfor %}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}
"""
_LLAVA = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    "{# Render all images first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\\n' }}{% endfor %}{# Render all text next #}{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}"
    "{% endfor %}{% else %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
_DATED = (
    "{%- if strftime_now is defined %}{% set today = strftime_now('%d %b %Y') %}{% else %}{% set today = '?' %}"
    "{% endif %}{{ bos_token + 'Today: ' + today + '\\n' }}"
)
TEMPLATES: dict[str, str | None] = {
    "tiny": TEMPLATE,
    "chatml": _CHATML,
    "chatml, dated": _DATED + _CHATML,
    "images first": _IMAGES_FIRST.replace("TEXT", "part['text']"),
    "trimmed": _IMAGES_FIRST.replace("TEXT", "(part['text'] | trim)"),
    "left-trimmed": _IMAGES_FIRST.replace("TEXT", "part['text'].lstrip()"),
    "stripped of lines": _IMAGES_FIRST.replace("TEXT", "part['text'].strip('\\n')"),
    "without tokens": _IMAGES_FIRST.replace("TEXT", "part['text'].replace('</s>', '').replace('[INST]', '(') | trim"),
    "escaped": _IMAGES_FIRST.replace("TEXT", "(part['text'] | e | string)"),
    "llava 1.5": _LLAVA,
    "pocket": POCKET_TEMPLATE,
    "none": None,
}
# Of text models: a message's content is one string.
TEXT_TEMPLATES = {
    "mistral": "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}",
    "chatml of text": "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] | trim + '<|im_end|>\\n' }}{% endfor %}{{ '<|im_start|>assistant\\n' }}",
}


def _trained(tokenizer: Tokenizer, trainer: Any) -> Tokenizer:
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer


def _byte_level() -> Tokenizer:
    """As Qwen2 and GPT-2 have it."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _trained(made, trainers.BpeTrainer(vocab_size=420, special_tokens=SPECIAL, initial_alphabet=alphabet))


def _metaspace(scheme: str) -> Tokenizer:
    """As Llama has it since transformers 4.40, with a space before the first piece or before every piece."""
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    made.decoder = decoders.Metaspace(prepend_scheme=scheme)
    _trained(made, trainers.BpeTrainer(vocab_size=200, special_tokens=SPECIAL))
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return made


def _legacy() -> Tokenizer:
    """As the first Llama conversions have it: the space is put in by the normalizer."""
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    spaces = decoders.Replace("\u2581", " ")
    made.decoder = decoders.Sequence([spaces, decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    _trained(made, trainers.BpeTrainer(vocab_size=200, special_tokens=SPECIAL))
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return made


def _unigram() -> Tokenizer:
    """As SentencePiece's own default."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    return _trained(made, trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>"))


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "byte-level": _byte_level,
    "metaspace, first": lambda: _metaspace("first"),
    "metaspace, always": lambda: _metaspace("always"),
    "legacy": _legacy,
    "unigram": _unigram,
}


@cache
def _serialised(kind: str) -> str:
    return TOKENIZERS[kind]().to_str()


def processor_with(kind: str, template: str | None) -> LlavaProcessor:
    """A processor of 56 px images with that tokenizer and chat template."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_serialised(kind)), unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        additional_special_tokens=SPECIAL[3:],
    )  # fmt: skip
    images = CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    return LlavaProcessor(
        images, tokenizer, patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=template,
    )  # fmt: skip


def model_of(processor: LlavaProcessor) -> Any:
    """All of a model that a prompt needs."""
    return SimpleNamespace(config=SimpleNamespace(image_token_id=processor.image_token_id))


def turn(text: str, images: int = 1, role: str = "user") -> dict[str, Any]:
    """A message in parts."""
    return {"role": role, "content": [{"type": "image", "image": IMAGE}] * images + [{"type": "text", "text": text}]}


def expected_ids(processor: LlavaProcessor, messages: list[dict[str, Any]]) -> list[int]:
    """What `apply_chat_template` makes of a conversation."""
    [ids] = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=True)
    return list(ids)


def ids_of_text(processor: LlavaProcessor, text: str, count: int = 1) -> list[int]:
    """What the processor makes of a text with image tokens in it."""
    special = not text.startswith(processor.tokenizer.bos_token)
    images = [IMAGE] * count if count else None
    [ids] = processor(text=text, images=images, add_special_tokens=special)["input_ids"]
    return list(ids)
