"""Silences the libraries that read and convert models, because vlmprune's own progress says what happens."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from functools import partialmethod


@contextlib.contextmanager
def quiet(level: int = logging.WARNING) -> Iterator[None]:
    """Hides log lines up to `level`, warnings, prints and tqdm's progress bars while the block runs."""
    from tqdm import tqdm

    disabled, init = logging.root.manager.disable, tqdm.__init__
    logging.disable(level)
    tqdm.__init__ = partialmethod(init, disable=True)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        tqdm.__init__ = init
        logging.disable(disabled)


def hide_hub_bars() -> None:
    """Turns off the progress bars of transformers and of the hub's client, which have switches of their own."""
    from huggingface_hub.utils.tqdm import disable_progress_bars
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()
    disable_progress_bars()
