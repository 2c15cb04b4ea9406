// Generates an answer greedily, one token at a time, as vlmprune_runtime/generate.py does.
#pragma once

#include <vector>

#include "inputs.h"
#include "prefill.h"

namespace vlmprune {

// Describes an answer: the most tokens that it may have, and the settings that choose them. A benchmark has no
// settings, so that both modes decode as many tokens.
struct Decoding {
  int64_t max_tokens;
  Generation generation;
};

// Describes what is asked. A benchmark times the first token behind `follow_up` too.
struct Task {
  const Prompt& prompt;
  Decoding decoding;
  std::optional<FollowUp> follow_up = {};
};

// Holds an answer without its stop token; `past_tokens` counts the rows in the cache of each decoder stage at the end.
// `held` are the tokens of those rows before pruning, and `state` is the state behind them.
struct Answer {
  Integers token_ids;
  std::vector<Selection> selections;
  std::map<std::string, int64_t> past_tokens;
  Timings timings;
  Integers held;
  State state;
};

Answer answer(Program& program, const Manifest& manifest, const Task& task, bool prune);

// Describes a further question: how its answer is decoded, and whether its images are pruned.
struct FurtherTask {
  const FollowUp& question;
  Decoding decoding;
  bool prune;

  // Returns the tokens of the whole conversation up to where the answer begins.
  const Integers& token_ids() const { return prune ? question.pruned : question.unpruned; }
};

// Returns the answer behind a whole conversation, whose rows are in the caches as far as it begins with what the answer
// before has left there. Throws a bad request unless the images before are the same and it fits the context.
Answer go_on(Program& program, const Manifest& manifest, const FurtherTask& task, const Answer& before);

}  // namespace vlmprune
