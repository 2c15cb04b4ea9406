"""OccamToken has no released code; these are the properties that a fixed number of tokens must have."""

import pytest
import torch
from torch import Tensor

from pruner_inputs import inputs_of
from vlmprune_export.pruners import Pruner, build_pruner

GRID, TOKENS, KEEP = (4, 6), 24, 7


def text_stage(**changes: Tensor) -> tuple[Pruner, dict[str, Tensor]]:
    """The pruner before a decoder layer, and its inputs by name."""
    pruner = build_pruner("occam-token", grid=GRID, keep=KEEP)
    given = inputs_of(pruner, torch.zeros(TOKENS, 8))
    return pruner, dict(zip((need.name for need in pruner.needs), given, strict=True)) | changes


def scores_of(inputs: dict[str, Tensor]) -> Tensor:  # -> (T, N)
    """Attention of each text token behind the image to each visual token, one head, written out."""
    keys, places, rows = inputs["keys_all"], inputs["places"], []
    for place, query in zip(inputs["places_text"].tolist(), inputs["query_text"], strict=True):
        if place > int(places[-1]):
            rows.append((keys[: place + 1] @ query / query.shape[0] ** 0.5).softmax(0)[places])
    return torch.stack(rows)


def kept_by(pruner: Pruner, inputs: dict[str, Tensor]) -> list[int]:
    return pruner(*inputs.values())[0].tolist()


def test_k_tokens_are_those_above_the_threshold_at_which_k_stay() -> None:
    pruner, inputs = text_stage()
    scores = scores_of(inputs).amax(0)
    threshold = scores.sort(descending=True).values[KEEP - 1]
    assert kept_by(pruner, inputs) == torch.nonzero(scores >= threshold)[:, 0].tolist()


def test_the_order_of_text_and_its_padding_change_nothing() -> None:
    pruner, inputs = text_stage()
    kept, order = kept_by(pruner, inputs), torch.randperm(7, generator=torch.Generator().manual_seed(5))
    assert kept_by(pruner, inputs | {name: inputs[name][order] for name in ("query_text", "places_text")}) == kept
    padded = {
        "query_text": torch.cat([inputs["query_text"], torch.zeros(3, 8)]),
        "places_text": torch.cat([inputs["places_text"], torch.zeros(3, dtype=torch.int64)]),
    }
    assert kept_by(pruner, inputs | padded) == kept


def test_text_before_the_image_has_no_say() -> None:
    pruner, inputs = text_stage()
    before = inputs["places_text"] < inputs["places"][0]
    loud = torch.where(before[:, None], 100 * inputs["query_text"], inputs["query_text"])
    assert bool(before.any()) and kept_by(pruner, inputs | {"query_text": loud}) == kept_by(pruner, inputs)


@pytest.mark.parametrize("at", ["vision", "layer"])
def test_equal_scores_keep_the_first_tokens(at: str) -> None:
    pruner = build_pruner("occam-token", grid=GRID, keep=KEEP, at=at)  # type: ignore[arg-type]
    given = [value if value.dtype == torch.int64 else torch.zeros_like(value) for value in inputs_of(
        pruner, torch.zeros(TOKENS, 8)
    )]  # fmt: skip
    assert pruner(*given)[0].tolist() == list(range(KEEP))


def test_fewer_tokens_are_a_part_of_more() -> None:
    attention = torch.rand(TOKENS, generator=torch.Generator().manual_seed(2))
    few, more = (
        set(
            build_pruner("occam-token", grid=GRID, keep=keep, at="vision")(torch.zeros(TOKENS, 8), attention)[
                0
            ].tolist()
        )
        for keep in (KEEP, KEEP + 5)
    )
    assert few < more
