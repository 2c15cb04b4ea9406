"""What a decoder stage shows of the layer behind it is what that layer computes in a longer stage."""

import pytest
import torch

from tiny import TEXTS, tiny_llava
from vlmprune_export.decoder_attention import TorchCache
from vlmprune_export.families import build_family
from vlmprune_export.stage_modules import DecoderStage

ROWS, POSITIONS = torch.randn(11, 48, generator=torch.Generator().manual_seed(0)), torch.arange(11)


@pytest.mark.parametrize("text", TEXTS)
@torch.no_grad()
def test_the_next_layer_projects_as_it_does_in_its_own_stage(text: str) -> None:
    family = build_family(tiny_llava(text))
    shorter = DecoderStage(family, 0, 2, ("next_keys", "next_query"))
    longer = DecoderStage(family, 0, 3, ("keys", "query"))
    _, *ours = shorter(ROWS, POSITIONS, TorchCache())
    _, *theirs = longer(ROWS, POSITIONS, TorchCache())
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, expected)


def test_a_stage_that_shows_nothing_of_the_next_layer_has_none_of_its_weights() -> None:
    family = build_family(tiny_llava())
    plain, peeking = (DecoderStage(family, 0, 2, reads) for reads in (("keys",), ("next_keys",)))
    assert {name.split(".")[0] for name, _ in plain.named_parameters()} == {"layers"}
    assert {name.split(".")[0] for name, _ in peeking.named_parameters()} == {"layers", "next_parts"}
