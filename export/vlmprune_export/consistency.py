"""Checks that the parts of a checkpoint fit each other, before anything is lowered.

Vision stage and tokenizer are run once. A bundle whose numbers cannot be right is then refused within seconds, instead
of being written and failing in every run.
"""

from collections.abc import Iterable
from math import isfinite
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from vlmprune_export.checkpoint import Checkpoint
from vlmprune_export.staged_model import StagedModel
from vlmprune_runtime.errors import BadRequest, first_line
from vlmprune_runtime.prompt import encode_prompt
from vlmprune_runtime.schema import PromptSpec

_QUESTION = "What is in the picture?"


def check_decoder(staged: StagedModel, target: str, quantisation: str) -> None:
    """Raises `BadRequest` for a decoder that does what is declared of it, but not lowered to that target yet."""
    family, traits = staged.family, staged.family.traits
    model_type = str(family.model.config.model_type)  # type: ignore[union-attr]
    if "sliding" in family.layer_kinds:
        window = f"a window of {traits.window_tokens} tokens"
        raise BadRequest(f"{model_type} has decoder layers with {window}, which no target has yet")
    if traits.image_attention == "both_ways":
        raise BadRequest(f"visual tokens of {model_type} attend both ways; no target has that yet, eager PyTorch does")
    if traits.deepstack_layers and (target != "onnx" or quantisation != "none"):
        raise BadRequest(f"{model_type} adds features to hidden states (deepstack); allowed: onnx without quantisation")


def check_tokenizer(checkpoint: Checkpoint, tokenizer: Tokenizer) -> None:
    """Raises `BadRequest` for a tokenizer that does not have the image token, or another id for it."""
    config: Any = checkpoint.model.config
    token = checkpoint.processor.image_token
    token_id = tokenizer.token_to_id(token)
    if token_id is None:
        raise BadRequest(f"the tokenizer has no image token {token!r}; config.json gives it id {config.image_token_id}")
    if token_id != config.image_token_id:
        raise BadRequest(
            f"the tokenizer gives the image token {token!r} id {token_id}, config.json (image_token_id) "
            f"{config.image_token_id}; allowed: one id in both"
        )
    if tokenizer.encode(token, add_special_tokens=False).ids != [token_id]:
        raise BadRequest(f"the tokenizer splits the image token {token!r}; it must be a special token")


def check_parts(tokenizer: Tokenizer, staged: StagedModel) -> None:
    """Raises `BadRequest` for features of another grid, ids outside the embedding table, and weights without value."""
    _check_vocabulary(tokenizer, staged)
    _check_features(staged)
    _check_finite(staged.family.model)


def check_prompt(tokenizer: Tokenizer, prompt: PromptSpec, staged: StagedModel) -> None:
    """Raises `BadRequest` for a prompt with other than one place for an image, or with ids outside the table."""
    encoded = encode_prompt(tokenizer, prompt, staged.pipeline.view_tokens, _QUESTION)
    if len(encoded.spans) != 1:
        raise BadRequest(f"the prompt has {len(encoded.spans)} places for one image; allowed: 1")
    _check_ids("the prompt", encoded.token_ids.tolist(), staged)


def _check_features(staged: StagedModel) -> None:
    grid = staged.family.grids[0]
    with torch.inference_mode():
        try:
            features, *_ = staged.stages["vision"].module(torch.zeros(1, 3, grid.height_px, grid.width_px))
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as cause:
            raise BadRequest(f"the vision tower cannot be run on one image: {first_line(cause)}") from cause
    expected = (grid.view_tokens, staged.family.text_model.hidden_size)
    if tuple(features.shape) != expected:
        raise BadRequest(
            f"the vision tower gives features of {_shape(features.shape)}; allowed: {_shape(expected)}, a row for each "
            f"of {grid.height} x {grid.width} patches, as wide as the text model"
        )
    if not features.isfinite().all():
        raise BadRequest("the vision tower gives features that are not finite; its weights are damaged")


def _check_finite(model: nn.Module) -> None:
    """Raises `BadRequest` for a weight with a number that is infinite or none."""
    for name, weight in model.named_parameters():
        if not all(map(isfinite, weight.detach().aminmax())):  # needs no memory, as a mask of all numbers would
            raise BadRequest(f"{name} holds numbers that are not finite; the checkpoint's weights are damaged")


def _check_vocabulary(tokenizer: Tokenizer, staged: StagedModel) -> None:
    family = staged.family
    sizes = {family.text_model.vocab_size, _table_rows(staged), family.lm_head.weight.shape[0]}
    if len(sizes) != 1:
        raise BadRequest(
            f"vocab_size, embedding table and language-model head are of {sorted(sizes)} rows; allowed: one size"
        )
    _check_ids("the tokenizer", tokenizer.get_vocab(with_added_tokens=True).values(), staged)


def _check_ids(what: str, ids: Iterable[int], staged: StagedModel) -> None:
    highest, rows = max(ids, default=0), _table_rows(staged)
    if highest >= rows:
        raise BadRequest(
            f"{what} has token ids up to {highest}, but the embedding table has {rows} rows; "
            "tokenizer and weights are not of one checkpoint"
        )


def _table_rows(staged: StagedModel) -> int:
    """Returns the number of rows in the embedding table."""
    return next(
        part.num_embeddings for part in staged.stages["embed"].module.modules() if isinstance(part, nn.Embedding)
    )


def _shape(sizes: Iterable[int]) -> str:
    return " x ".join(str(size) for size in sizes)
