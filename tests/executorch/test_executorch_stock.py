"""`stock.pte`: the unpruned model as ExecuTorch's own multimodal runner calls it, against Hugging Face."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from executorch_bundles import CONTEXT_TOKENS, WHY
from transformers import LlavaForConditionalGeneration

from manifests import manifest_of
from tiny import IMAGE_TOKEN_ID
from vlmprune_export.backends.executorch.stock import METHODS
from vlmprune_runtime.bundle import open_bundle

pytest.importorskip("executorch.runtime", reason=WHY)

BEFORE, AFTER = [1, 5, 9], [7, 10, 11, 4]
PIXELS = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(0))
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def call(portable_bundle: Path) -> Call:
    """A method of the file, run; what comes back is the caller's."""
    from vlmprune_runtime.engines.executorch_packages import load_packages

    program = load_packages(None).runtime.load_program(portable_bundle / "stock.pte")
    return lambda method, *inputs: program.load_method(method).execute(list(inputs))[0].clone()


def runner_logits(call: Call, token_ids: list[int], start: int) -> Any:
    """A text span from row `start` of the cache on, as the runner's prefiller and its decode step do it."""
    embeddings = call("token_embedding", torch.tensor([token_ids]))
    return call("text_decoder", embeddings, torch.tensor([start]))


def test_text_image_text_and_a_new_token_are_hugging_faces(call: Call, other_checkpoint: Path) -> None:
    model = LlavaForConditionalGeneration.from_pretrained(other_checkpoint).eval()
    visual = call("vision_encoder", PIXELS)
    places = visual.shape[1]
    runner_logits(call, BEFORE, 0)
    call("text_decoder", visual, torch.tensor([len(BEFORE)]))
    ours = runner_logits(call, AFTER, len(BEFORE) + places)
    prompt = [*BEFORE, *[IMAGE_TOKEN_ID] * places, *AFTER]
    with torch.no_grad():
        theirs = model(input_ids=torch.tensor([[*prompt, 8]]), pixel_values=PIXELS).logits
    torch.testing.assert_close(ours, theirs[:, -2], atol=1e-4, rtol=0)
    torch.testing.assert_close(runner_logits(call, [8], len(prompt)), theirs[:, -1], atol=1e-4, rtol=0)


def test_methods_and_constants_are_those_the_runner_asks_for(portable_bundle: Path) -> None:
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(portable_bundle / "stock.pte")
    assert set(METHODS) | {"get_max_seq_len", "get_max_context_len", "get_eos_ids", "get_bos_id", "use_kv_cache"} <= (
        program.method_names
    )
    decoder = program.metadata("text_decoder")
    assert decoder.num_inputs() == 2
    # One place: the runner then gives the start alone, and counts on where there are more.
    assert tuple(decoder.input_tensor_meta(1).sizes()) == (1,)
    assert tuple(decoder.input_tensor_meta(0).sizes())[:2] == (1, CONTEXT_TOKENS)


def test_the_file_belongs_to_the_bundle_and_only_if_wished(portable_bundle: Path, bundle: Path) -> None:
    assert set(manifest_of(portable_bundle)["files"]) == {"model.pte", "stock.pte", "tokenizer.json"}
    assert "stock.pte" not in manifest_of(bundle)["files"]
    open_bundle(portable_bundle)
