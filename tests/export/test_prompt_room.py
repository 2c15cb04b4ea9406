"""How many images and tokens a bundle's prompts have room for."""

import pytest

from vlmprune_export.prompt_room import PromptRoom, RoomRequest
from vlmprune_runtime.errors import BadRequest


def room(context: int | None = None, images: int | None = None, usual: int = 2, most: int = 4096) -> PromptRoom:
    return RoomRequest(context, images, usual, most).room(576)


def test_requested_images_lengthen_the_context() -> None:
    assert room() == PromptRoom(1600, 2)
    assert room(images=3) == PromptRoom(2176, 3)
    assert room(images=2, usual=1) == PromptRoom(1600, 2)


def test_a_short_context_has_fewer_images() -> None:
    assert room(context=1024) == PromptRoom(1024, 1)
    assert room(most=1152) == PromptRoom(1152, 1)  # two would fill it without a token of text


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"context": 1024, "images": 2},
            "images: got 2; allowed: at most 1, for an image takes up to 576 of 1024 tokens",
        ),
        ({"images": 0}, "images: got 0; allowed: 1 or more"),
        ({"images": 8}, "images: got 8; allowed: at most 7"),
        ({"context": 576}, "context: got 576 tokens; allowed: 577 to 4096"),
        ({"most": 576}, "an image takes up to 576 tokens, the model has 576 positions"),
    ],
)
def test_what_does_not_fit_is_refused(asked: dict[str, int], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        room(**asked)
