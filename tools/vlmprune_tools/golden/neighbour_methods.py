"""How a case of each group of neighbours is run: a function from the case and its arrays to the first difference."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from vlmprune_export.pruners import ModelParts, Site, build_pruner
from vlmprune_export.pruners.needs import CutPlace
from vlmprune_export.pruners.pruner import Pruner
from vlmprune_export.pruners.saint import Saint, SaintAdaptive, SaintSettings
from vlmprune_export.pruners.saint.tower import distinct_tokens, drop_counts
from vlmprune_export.pruners.similarity import unit_rows
from vlmprune_tools.golden.case import (
    Arrays,
    Fields,
    different_indices,
    different_rows,
    first_difference,
    tensor,
)

Compare = Callable[[Fields, Arrays], str | None]
TOLERANCE = 2e-5


def duet_vision(case: Fields, own: Arrays) -> str | None:
    """Compares DUET's merged tokens; the released code has the CLS token before them, which is none of ours."""
    golden = np.concatenate([own["dominant"], own["anchors"]])
    settings = {"contextual": case["contextual"], "cluster_width": case["cluster_width"]}
    pruner = built("duet-vlm", case, len(golden), "vision", settings)
    rows, keys = tensor(own["hidden"])[1:], tensor(own["metric"])[1:]
    kept, fused, _ = pruner(rows, rows, tensor(own["cls_attention"]).sum(0), keys)
    order = np.argsort(golden, kind="stable")
    return first_difference(
        different_indices("kept", kept, golden[order]),
        different_rows("features", fused, own["features"][1:][order], TOLERANCE),
    )


def duet_text(case: Fields, own: Arrays) -> str | None:
    """Compares DUET's choice in the decoder, with the query rows that vote in the case."""
    queries, keys = tensor(own["text_queries"]), tensor(own["keys"])
    places = torch.arange(case["image_tokens"]) + case["image_start"]
    voters = torch.tensor(case["query_rows"])
    heads = ModelParts(queries.shape[0], keys.shape[0], keys.shape[2])
    pruner = build_pruner("duet-vlm", grid=(1, len(places)), keep=case["keep"], parts=heads)
    text = voters + int(places[-1]) + 1
    kept, _, _ = pruner(blank(len(places)), places, side_by_side(keys), side_by_side(queries)[voters], text)
    return different_indices("kept", kept, own["kept"])


def saint_tower(case: Fields, own: Arrays) -> str | None:
    """Compares SAINT's choice inside the tower."""
    keys = tensor(own["keys"])
    kept = distinct_tokens(keys, drop_counts(len(keys), case["keep"], case["r"]), "while")
    return different_indices("kept", kept, own["kept"])


def saint_decoder(case: Fields, own: Arrays) -> str | None:
    """Compares SAINT's rounds; in a case of mode `threshold` the vote says how many tokens each drops."""
    keys = tensor(own["keys"])
    site, unit = Site((1, len(keys)), case["keep"]), unit_rows(keys, "while")
    settings = SaintSettings(neighbours=case["neighbours"], gamma=case["gamma"])
    live, there = torch.arange(len(keys)), torch.ones(len(keys))
    for drop, threshold in zip(case["dropped_per_round"], case["thresholds"], strict=True):
        if case["mode"] == "threshold":
            live, there = SaintAdaptive(site, settings).survivors(unit, (live, there), len(live), threshold)
        else:
            live = Saint(site, settings).survivors(unit, live, drop)
    return different_indices("kept", live[: int(there.sum())], own["kept"])


def nuwa_vision(case: Fields, own: Arrays) -> str | None:
    """Compares Nüwa's spread tokens and what they gather."""
    settings = {
        "pillars": case["pillar_percentile"],
        "reach_squared": case["distance_squared"],
        "cell_tokens": case["top_n_used"],
    }
    pruner = built("nuwa", case, case["keep"], "vision", settings)
    rows = tensor(own["agg_hidden"])
    kept, fused, _ = pruner(rows, rows, tensor(own["sim_hidden"]), tensor(own["cls_attention"]).sum(0))
    return first_difference(
        different_indices("kept", kept, own["kept"]), different_rows("features", fused, own["features"], TOLERANCE)
    )


def nuwa_text(case: Fields, own: Arrays) -> str | None:
    """Compares Nüwa's choice in the decoder.

    The case gives attention; queries and keys that lead to it are made: keys are unit vectors, and a query is the
    logarithm of its head's attention, the last key taking what the visual tokens have not.
    """
    attention = tensor(own["last_attention"])
    heads, tokens = attention.shape
    shares = torch.cat([attention, (1 - attention.sum(1, keepdim=True)).clamp(min=1e-9)], 1)
    size = tokens + 1
    pruner = build_pruner("nuwa", grid=(1, tokens), keep=case["keep"], parts=ModelParts(heads, 1, size))
    query = (shares.clamp(min=1e-30).log() * size**0.5).view(1, -1)
    kept, _, _ = pruner(blank(tokens), torch.arange(tokens), torch.eye(size), query, torch.tensor([tokens]))
    return different_indices("kept", kept, own["kept"])


def built(method: str, case: Fields, keep: int, at: CutPlace, settings: Mapping[str, object]) -> Pruner:
    """Returns the pruner of a case on the case's grid."""
    return build_pruner(
        method, grid=(case["grid_height"], case["grid_width"]), keep=keep, at=at, settings=settings
    )  # fmt: skip


def side_by_side(heads: Tensor) -> Tensor:  # (H, S, dh) -> (S, H * dh)
    """Returns the heads of every token in a row."""
    return heads.transpose(0, 1).flatten(1)


def blank(tokens: int) -> Tensor:  # -> (N, 1)
    """Returns rows for a pruner of which only the choice is compared."""
    return torch.zeros(tokens, 1)


GROUPS: Mapping[str, Compare] = {
    "duet_v2v": duet_vision,
    "duet_t2v": duet_text,
    "saint_vit": saint_tower,
    "saint_llm": saint_decoder,
    "nuwa_s1": nuwa_vision,
    "nuwa_s2": nuwa_text,
}
"""The comparison of each group."""
