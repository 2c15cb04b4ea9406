// Generates an answer greedily, one token at a time, as vlmprune_runtime/generate.py does.
#pragma once

#include <vector>

#include "inputs.h"
#include "prefill.h"

namespace vlmprune {

// Describes an answer: the most tokens that it may have, and the settings that choose them. A benchmark has no
// settings, so that both modes decode as many tokens.
struct Task {
  const Prompt& prompt;
  const std::vector<Array>& pixels;
  int64_t max_tokens;
  Generation generation;
};

// Holds an answer without its stop token; `past_tokens` counts the rows in the cache of each decoder stage at the end.
struct Answer {
  Integers token_ids;
  std::vector<Selection> selections;
  std::map<std::string, int64_t> past_tokens;
  Timings timings;
};

Answer answer(Program& program, const Manifest& manifest, const Task& task, bool prune);

}  // namespace vlmprune
