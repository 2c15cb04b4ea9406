"""Follow-ups in the staged model: unpruned as Hugging Face has the whole conversation, pruned as the masked oracle."""

import numpy as np
import pytest
import torch
from oracle import masked_logits
from torch import Tensor

from tiny import IMAGE_TOKEN_ID, TEXTS, tiny_llava
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.families import build_family
from vlmprune_export.staged_model import StagedModel
from vlmprune_export.torch_engine import TorchEngine
from vlmprune_runtime.decode import decode
from vlmprune_runtime.prefill import prefill, start_prefill
from vlmprune_runtime.prompt import EncodedPrompt, expand_image_tokens
from vlmprune_runtime.state import State, final_state

FIRST, ANSWER = [1, 5, 6, IMAGE_TOKEN_ID, 7, 8, 9], [11, 12]
FOLLOW_UPS = {"text": [2, 13, 14, 15], "image": [2, IMAGE_TOKEN_ID, 13, 14]}


def encoded(ids: list[int]) -> EncodedPrompt:
    images = ids.count(IMAGE_TOKEN_ID)
    return expand_image_tokens(np.array(ids, dtype=np.int64), IMAGE_TOKEN_ID, [49], [0] * images)


def follow_up(engine: TorchEngine, further: list[int], images: Tensor, *, prune: bool) -> State:
    """After a question about the first image and its answer, whose last token is run with the follow-up."""
    pipeline, (first, *new) = engine.staged.pipeline, [image.numpy()[None] for image in images]
    state = prefill(pipeline, engine, encoded(FIRST), [first], prune=prune)
    state = decode(pipeline, engine, ANSWER[0], state)
    more = encoded([*ANSWER[1:], *further])
    return final_state(start_prefill(pipeline, engine, more, new, state).run_all(prune=prune))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("case", FOLLOW_UPS)
@pytest.mark.parametrize("options", [{}, {"layer": 1}, {"method": "uniform", "layer": 0}])
def test_a_follow_up_is_the_whole_conversation(text: str, case: str, options: dict[str, object]) -> None:
    model, further = tiny_llava(text), FOLLOW_UPS[case]
    engine = TorchEngine(StagedModel(build_family(model), PruneOptions(**{"keep": 8, **options})))  # type: ignore[arg-type]
    whole = torch.from_numpy(encoded([*FIRST, *ANSWER, *further]).token_ids)
    pixels = torch.randn(1 + further.count(IMAGE_TOKEN_ID), 3, 56, 56)
    with torch.no_grad():
        expected = model(input_ids=whole[None], pixel_values=pixels).logits[0, -1]
    unpruned = follow_up(engine, further, pixels, prune=False)
    np.testing.assert_allclose(unpruned.logits, expected.numpy(), atol=1e-5)
    pruned = follow_up(engine, further, pixels, prune=True)
    kept = np.concatenate([49 * one.view + one.kept for one in pruned.selections])
    fused = np.concatenate([one.fused for one in pruned.selections])
    assert [one.view for one in pruned.selections] == list(range(len(pixels)))
    layer = engine.staged.cuts[-1].layer
    oracle = masked_logits(model, whole, pixels, layer, torch.from_numpy(kept), torch.from_numpy(fused))
    np.testing.assert_allclose(pruned.logits, oracle.numpy(), atol=1e-5)
    assert np.abs(pruned.logits - unpruned.logits).max() > 1e-4
    assert pruned.next_position == unpruned.next_position == len(whole)
