// The way of a prompt through the stages; the same as vlmprune_runtime/prefill.py.
#pragma once

#include <vector>

#include "inputs.h"
#include "program.h"
#include "timing.h"

namespace vlmprune {

// What the pruner gave for one image: places in it, rising, and the rows to put there.
struct Selection {
  Integers kept;
  Floats fused;
};

// Where generation stands: logits (V), tokens in both caches, the position of the next token.
struct State {
  Floats logits;
  int64_t head_tokens, tail_tokens, position;
};

// Rows (S, D) and the places they had in the whole prompt.
struct Rows {
  Floats values;
  Integers places;
};

// The state after the whole prompt.
State prefill(Program& program, const Prompt& prompt, const std::vector<Array>& pixels, bool prune, Timings& timings);

// Text rows and fused visual rows in order; all rows if nothing was pruned.
Rows keep_rows(const Floats& hidden, int64_t width, const std::vector<Span>& spans,
               const std::vector<Selection>& selections);

// Inputs of head or tail: rows, their positions, and the tokens in the cache before them.
Arrays step_inputs(const std::string& name, Floats rows, const Integers& positions, int64_t past_tokens);

}  // namespace vlmprune
