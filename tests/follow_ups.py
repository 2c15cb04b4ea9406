"""Follow-ups on the bundle of any target: the same tokens as in one prefill of the whole, or token by token."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from manifests import manifest_of
from vlmprune_runtime.decode import decode
from vlmprune_runtime.generate import Request, Runner, last_result, open_runner
from vlmprune_runtime.prefill import prefill
from vlmprune_runtime.prompt import EncodedPrompt
from vlmprune_runtime.sample import SAMPLE_IMAGE
from vlmprune_runtime.state import State

TURN = [
    {"kind": "text", "text": "</s> USER:"},
    {"kind": "images", "fewest": 0},
    {"kind": "user_text"},
    {"kind": "text", "text": " ASSISTANT:"},
]
PROMPT, LONG, TOKENS = "what ?", "is the dog left of the bus", 5


def with_follow_ups(bundle: Path, out: Path) -> Path:
    """A copy of a tiny bundle whose chat template has further turns."""
    fields = manifest_of(Path(shutil.copytree(bundle, out)))
    fields["prompt"]["follow_up"] = {"before_answer": " ", "segments": TURN, "standalone": True}
    fields["generation"]["stop_token_ids"] = []
    (out / "bundle.json").write_text(json.dumps(fields))
    return out


def check_follow_ups(bundle: Path, out: Path, tolerance: float = 1e-4) -> None:
    """The state behind two follow-ups and their answers is that behind the whole conversation.

    Unpruned the whole is run anew, pruned its tokens are run one by one behind the first prompt.
    """
    runner = open_runner(with_follow_ups(bundle, out))
    logits = []
    for prune in (False, True):
        runner.answer(Request(SAMPLE_IMAGE, PROMPT, prune, TOKENS))
        for question in (LONG, "no"):
            result = last_result(runner.follow_up(question))
            assert result.prefilled_tokens < 20 < result.prompt_tokens
        assert runner.conversation is not None
        held = runner.conversation.held
        ids, logits = held.token_ids, [*logits, held.state.logits]
        assert ids[result.prompt_tokens :].tolist() == list(result.token_ids[:-1])
        np.testing.assert_allclose(logits[-1], state_after(runner, ids, prune).logits, atol=tolerance)
    assert np.abs(logits[0] - logits[1]).max() > 5 * tolerance


def state_after(runner: Runner, ids: Any, prune: bool) -> State:
    """The state behind a conversation that one image is in, which leaves its own rows in the caches."""
    question = runner.ask(PROMPT, [SAMPLE_IMAGE])
    first = len(question.prompt.token_ids) if prune else len(ids)
    prompt = EncodedPrompt(ids[:first], question.prompt.spans, question.prompt.grids, question.prompt.images)
    state = prefill(runner.bundle.manifest, runner.engine, prompt, question.pixels, prune=prune)
    for token in ids[first:]:
        state = decode(runner.bundle.manifest, runner.engine, int(token), state)
    return state
