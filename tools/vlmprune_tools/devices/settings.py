"""Defines what is asked of every device."""

from dataclasses import dataclass
from pathlib import Path

from vlmprune_runtime.errors import BadRequest


@dataclass(frozen=True)
class DeviceSettings:
    """Holds the settings of a measurement.

    `prompt` and `image` None stand for the app's own sample. A device that says nothing for `patience_s` seconds has
    failed; it is asked every `pause_s` seconds.
    """

    pairs: int = 10
    prompt: str | None = None
    image: Path | None = None
    patience_s: float = 600
    pause_s: float = 2

    def __post_init__(self) -> None:
        """Raises `BadRequest` for no pairs, or for no patience."""
        if self.pairs < 1:
            raise BadRequest(f"pairs: got {self.pairs}, allowed: 1 or more")
        if self.patience_s <= 0:
            raise BadRequest(f"patience: got {self.patience_s:g} s, allowed: more than 0")
