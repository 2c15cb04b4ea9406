"""Decides how many tokens and how many of the largest images a bundle's prompts have room for."""

from dataclasses import dataclass

from vlmprune_runtime.errors import BadRequest

TEXT_ROOM_TOKENS = 448
"""Tokens of text beside the images, where no context is requested."""
_CONTEXT_STEP_TOKENS = 64


@dataclass(frozen=True)
class PromptRoom:
    """Holds the longest prompt and answer together, and how many of the largest images fit into them."""

    context_tokens: int
    images: int


@dataclass(frozen=True)
class RoomRequest:
    """Holds what was asked for: None leaves a number to the model.

    `usual_images` is how many images prompts of the model usually have, `max_positions` its longest sequence.
    """

    context_tokens: int | None
    images: int | None
    usual_images: int
    max_positions: int

    def room(self, image_tokens: int) -> PromptRoom:
        """Returns the room for images of so many tokens; raises `BadRequest` for a request that does not fit.

        >>> RoomRequest(None, None, 2, 8192).room(576), RoomRequest(1024, None, 2, 8192).room(576)
        (PromptRoom(context_tokens=1600, images=2), PromptRoom(context_tokens=1024, images=1))
        """
        if self.images is not None and self.images < 1:
            raise BadRequest(f"images: got {self.images}; allowed: 1 or more")
        if image_tokens >= self.max_positions:
            raise BadRequest(
                f"an image takes up to {image_tokens} tokens, the model has {self.max_positions} positions; "
                "--tiles makes it fewer"
            )
        context = self._context(image_tokens)
        fitting = (context - 1) // image_tokens
        if self.images is not None and self.images > fitting:
            raise BadRequest(
                f"images: got {self.images}; allowed: at most {fitting}, for an image takes up to {image_tokens} of "
                f"{context} tokens"
            )
        return PromptRoom(context, min(self.images or self.usual_images, fitting))

    def _context(self, image_tokens: int) -> int:
        least, most = image_tokens + 1, self.max_positions
        if self.context_tokens is None:
            room = (self.images or self.usual_images) * image_tokens + TEXT_ROOM_TOKENS
            return max(least, min(most, -(-room // _CONTEXT_STEP_TOKENS) * _CONTEXT_STEP_TOKENS))
        if not least <= self.context_tokens <= most:
            raise BadRequest(
                f"context: got {self.context_tokens} tokens; allowed: {least} to {most}, for an image takes up to "
                f"{image_tokens}"
            )
        return self.context_tokens
