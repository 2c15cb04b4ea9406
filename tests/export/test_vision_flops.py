"""FLOP formulas against torch's own counter on the staged model, and the vision count against running it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tiny import TEXTS, TOWERS, tiny_llava
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.families import build_family
from vlmprune_export.staged_model import StagedModel
from vlmprune_export.torch_engine import TorchEngine
from vlmprune_export.vision_flops import count_vision_flops
from vlmprune_runtime.bundle import parse_manifest
from vlmprune_runtime.flops import decode_flops, prefill_flops
from vlmprune_runtime.schema import Bundle

GOLDEN = Path(__file__).parents[1] / "golden" / "bundle" / "bundle.json"
VISUAL, KEEP, LAYER, PROMPT = 49, 8, 1, 60


def counted(engine: TorchEngine, stage: str, rows: int, past: int) -> int:
    """What torch counts in one call of head or tail."""
    name = "embeddings" if stage == "head" else "hidden"
    inputs = {
        name: np.zeros((rows, 48), np.float32),
        "positions": np.arange(past, past + rows),
        "past_tokens": np.array([past], np.int32),
    }
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        engine.run(stage, inputs)
    return int(counter.get_total_flops())


def manifest_of(engine: TorchEngine) -> Bundle:
    golden = parse_manifest(GOLDEN.read_text())
    pipeline = engine.staged.pipeline
    grid = pipeline.grids[0].model_copy(update={"vision_flops": 7})
    text = engine.staged.family.text_model
    return golden.model_copy(update={**dict(pipeline), "text_model": text, "grids": (grid,)})


@pytest.mark.parametrize("text", TEXTS)
def test_head_and_tail_are_what_torch_counts(text: str) -> None:
    engine = TorchEngine(StagedModel(build_family(tiny_llava(text)), PruneOptions(keep=KEEP, layer=LAYER)))
    manifest = manifest_of(engine)
    first = {prune: prefill_flops(manifest, PROMPT, [0], prune=prune) for prune in (True, False)}
    left = PROMPT - VISUAL + KEEP
    assert counted(engine, "head", PROMPT, 0) == first[True].head == first[False].head
    assert counted(engine, "tail", PROMPT, 0) == first[False].tail
    then = decode_flops(manifest, {"head": PROMPT, "tail": PROMPT})
    assert counted(engine, "tail", 1, PROMPT) == then.tail
    assert counted(engine, "tail", left, 0) == first[True].tail
    assert counted(engine, "head", 1, PROMPT) == then.head


def test_images_count() -> None:
    engine = TorchEngine(StagedModel(build_family(tiny_llava()), PruneOptions(keep=KEEP, layer=LAYER)))
    manifest = manifest_of(engine)
    two = prefill_flops(manifest, 2 * PROMPT, [0, 0], prune=True)
    one_row = prefill_flops(manifest, 2 * (PROMPT - VISUAL + KEEP), [0], prune=False)
    assert two.vision == 14
    assert two.tail == one_row.tail


@pytest.mark.parametrize("tower", TOWERS)
def test_vision_without_the_layers_nobody_reads(tower: str) -> None:
    """The tower as it runs computes one layer behind the feature layer, which graphs leave out."""
    family = build_family(tiny_llava(tower=tower))
    pixels = torch.zeros(1, 3, 56, 56)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        family.features(pixels, 0)
    rows, width, inner = 49 if tower == "siglip" else 50, 32, 128 if tower == "dinov2" else 64
    layer = 2 * rows * (4 * width * width + 2 * width * inner) + 4 * rows * rows * width
    unread = counter.get_total_flops() - count_vision_flops(family)
    assert unread >= layer
    assert unread < 2 * layer
