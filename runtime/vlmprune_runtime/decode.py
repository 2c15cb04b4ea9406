"""Runs the stages for tokens behind those that the caches hold: more text, or the next token."""

from collections.abc import Generator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from vlmprune_runtime.engines import Engine
from vlmprune_runtime.events import StageTimed
from vlmprune_runtime.positions import place_text
from vlmprune_runtime.prefill import Prefill
from vlmprune_runtime.schema import Pipeline
from vlmprune_runtime.state import State, final_state


def extend_steps(
    pipeline: Pipeline, engine: Engine, token_ids: npt.NDArray[np.int64], state: State
) -> Generator[StageTimed, None, State]:
    """Runs more text behind what the caches hold, yields each stage's time, and returns the state after it."""
    tokens = place_text(pipeline, token_ids, state.next_position)
    run = Prefill(pipeline, engine, tokens, past_tokens=dict(state.past_tokens))
    for name in pipeline.decode:
        yield from run.run(name)
    return replace(run.state(), selections=state.selections, views=state.views)


def decode(pipeline: Pipeline, engine: Engine, token_id: int, state: State) -> State:
    """Returns the state after one more token, whose position is that in the unpruned sequence."""
    return final_state(extend_steps(pipeline, engine, np.array([token_id], dtype=np.int64), state))
