"""The prompt that the model was trained on, as a chat template, and its image processor."""

import json
from pathlib import Path
from typing import Any

from vlmprune_export.pocket_model.language_model import IMAGE_TOKEN
from vlmprune_export.pocket_model.vision_tower import IMAGE_PX, PATCH_PX

CHAT_TEMPLATE = """\
{{- '<|im_start|>' -}}
{%- for message in messages -%}
  {%- if message['role'] == 'assistant' -%}
    {{- ' A: ' -}}
  {%- elif message['role'] == 'user' -%}
    {%- if message['content'] is not string -%}
      {%- for part in message['content'] if part['type'] == 'image' -%}{{- '<image>' -}}{%- endfor -%}
    {%- endif -%}
    {{- 'Q: ' -}}
  {%- else -%}
    {{- raise_exception('pocket knows the roles user and assistant') -}}
  {%- endif -%}
  {%- if message['content'] is string -%}
    {{- message['content'] -}}
  {%- else -%}
    {%- for part in message['content'] if part['type'] == 'text' -%}{{- part['text'] -}}{%- endfor -%}
  {%- endif -%}
  {%- if message['role'] == 'assistant' -%}{{- '<|im_end|>' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- ' A:' -}}{%- endif -%}
"""

IMAGE_PROCESSOR: dict[str, Any] = {
    "image_processor_type": "CLIPImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": IMAGE_PX},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": IMAGE_PX, "width": IMAGE_PX},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}

PROCESSOR: dict[str, Any] = {
    "processor_class": "LlavaProcessor",
    "image_token": IMAGE_TOKEN,
    "patch_size": PATCH_PX,
    "num_additional_image_tokens": 1,
    "vision_feature_select_strategy": "default",
}


def write_processor(folder: Path) -> None:
    """Writes `preprocessor_config.json`, `processor_config.json` and `chat_template.jinja`."""
    for name, content in (("preprocessor_config", IMAGE_PROCESSOR), ("processor_config", PROCESSOR)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
