"""Writes descriptions into a package for those who open it in Xcode, and the stage as `bundle.json` declares it."""

import json
from pathlib import Path
from typing import Any

from vlmprune_export.backends.coreml.convert import ct
from vlmprune_export.backends.coreml.package import SPEC
from vlmprune_export.staged_model import StagedModel
from vlmprune_runtime.schema import Graph, Stage

STAGES = {
    "vision": "Pixels to visual embeddings: tower and projector.",
    "embed": "Token ids to embeddings.",
    "decoder": "Decoder layers, with their KV cache as states; the last ones with norm and language-model head.",
    "prune": "Which visual tokens stay, chosen in fp32, and their rows with the others' mixed in.",
}
TENSORS = {
    "pixels": "One image, channels first, scaled and normalised as bundle.json says.",
    "features": "Embeddings of the image's patches, row by row over the grid.",
    "token_ids": "Token ids, padded with 0 at the end.",
    "embeddings": "Rows of the text model's input, padded at the end.",
    "positions": "Place of each token in the unpruned sequence; any valid place for padding.",
    "last_row": "Index of the last real token.",
    "past_tokens": "Tokens in the cache; the new one is written behind them.",
    "hidden": "Rows of the residual stream.",
    "keys": "Keys after rotary embedding of the last layer before pruning, all heads side by side.",
    "query": "Queries after rotary embedding of the last layer before pruning, all heads side by side.",
    "next_keys": "Keys after rotary embedding that the first layer behind pruning would compute of all tokens.",
    "next_query": "Queries after rotary embedding that the first layer behind pruning would compute of all tokens.",
    "places": "Where the tokens stand in the sequence, from 0; 0 for padding.",
    "tower_hidden": "Rows of the vision tower that the projector takes.",
    "tower_keys": "Keys of the tower's layer that the features come from, mean over heads.",
    "tower_attention": "Attention that each token is paid in that layer, by the CLS token where there is one.",
    "tower_last_keys": "Keys of the tower's last layer, all heads side by side.",
    "tower_last_attention": "Attention that each token is paid in the tower's last layer, all channels as one head.",
    "tower_late": "Mean hidden states of the last third of the tower.",
    "kept": "Visual tokens that stay, ascending.",
    "fused": "Their rows after aggregation.",
    "rank": "For each of them, the rank at which it was chosen, from 0.",
    "count": "How many of them are meant, from the first on; the others are padding.",
    "logits": "Scores of the next token.",
}
GROUPS = {"all": "all tokens", "text": "the text tokens", "last": "the last token"}
"""Whose rows a tensor of a pruner has, by the end of its name; without one, those of the visual tokens."""


def describe_tensor(name: str) -> str:
    """Returns a tensor in one sentence.

    >>> describe_tensor("places_text")
    'Of the text tokens: Where the tokens stand in the sequence, from 0; 0 for padding.'
    """
    base, _, group = name.rpartition("_")
    return f"Of {GROUPS[group]}: {TENSORS[base]}" if group in GROUPS else TENSORS[name]


def annotate(package: Path, stage: Stage, staged: StagedModel, context_tokens: int) -> None:
    """Writes descriptions and metadata into a saved package."""
    name = package.stem
    model = ct.proto.Model_pb2.Model()
    model.ParseFromString((package / SPEC).read_bytes())
    description = model.description
    description.metadata.shortDescription = describe_functions(stage)
    for side in (description, *description.functions):
        for tensor in (*side.input, *side.output):
            tensor.shortDescription = describe_tensor(tensor.name)
        for state in side.state:
            state.shortDescription = f"{'Keys' if state.name.startswith('k') else 'Values'} of all layers."
    description.metadata.userDefined.clear()
    for key, value in user_defined(name, stage, staged, context_tokens).items():
        description.metadata.userDefined[f"vlmprune.{key}"] = value
    (package / SPEC).write_bytes(model.SerializeToString(deterministic=True))


def describe_functions(stage: Stage) -> str:
    """Returns the stage in one sentence, and one for each function."""
    return " ".join([STAGES[stage.role], *map(_sentence, stage.graphs)])


def _sentence(graph: Graph) -> str:
    """Describes a function in one sentence.

    >>> _sentence(Graph(file="embed.mlpackage", entry="decode", phase="decode", tokens=1))
    'decode: one token.'
    >>> _sentence(Graph(file="tail.mlpackage", entry="decode_32", phase="decode", tokens=32))
    'decode_32: up to 32 tokens behind others, padded at the end.'
    """
    if graph.phase == "any":
        return f"{graph.entry}: the only function."
    if graph.phase == "decode":
        several = f"up to {graph.tokens} tokens behind others, padded at the end"
        return f"{graph.entry}: {'one token' if graph.tokens == 1 else several}."
    return f"{graph.entry}: a prompt of up to {graph.tokens} tokens, padded at the end."


def user_defined(name: str, stage: Stage, staged: StagedModel, context_tokens: int) -> dict[str, str]:
    """Returns the declarations of stage, pruner and context in `bundle.json`, as JSON texts."""
    pipeline = staged.pipeline
    pruner: dict[str, Any] = {
        "method": staged.method,
        "layer": pipeline.layer,
        "visual_tokens": pipeline.visual_tokens,
        "keep": pipeline.keep,
        "settings": staged.settings(),
    }
    return {
        "name": name,
        "stage": stage.model_dump_json(exclude={"data"}),
        "pruner": json.dumps(pruner),
        "context_tokens": str(context_tokens),
    }
