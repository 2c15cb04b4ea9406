// Greedy generation, one token at a time; the same as vlmprune_runtime/generate.py.
#pragma once

#include <vector>

#include "inputs.h"
#include "prefill.h"

namespace vlmprune {

// What is asked: how many tokens at most, and how they are chosen (a benchmark has no settings, so that both ways
// decode the same count).
struct Task {
  const Prompt& prompt;
  const std::vector<Array>& pixels;
  int64_t max_tokens;
  Generation generation;
};

// Without the stop token; `past_tokens` is how many rows the cache of each decoder stage holds at the end.
struct Answer {
  Integers token_ids;
  std::vector<Selection> selections;
  std::map<std::string, int64_t> past_tokens;
  Timings timings;
};

Answer answer(Program& program, const Manifest& manifest, const Task& task, bool prune);

}  // namespace vlmprune
