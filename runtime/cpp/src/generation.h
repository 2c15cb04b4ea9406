// How the next token is chosen: `generation` of bundle.json, without drawing; the same as
// vlmprune_runtime/penalties.py.
#pragma once

#include <optional>
#include <vector>

#include "array.h"
#include "document.h"

namespace vlmprune {

// The manifest's settings; without any, no token ends an answer and none is penalised.
struct Generation {
  Integers stop_token_ids = {};
  std::optional<int64_t> max_new_tokens = {}, max_length = {};
  float repetition_penalty = 1;
  int64_t no_repeat_ngram_size = 0;
  std::vector<Integers> bad_words_ids = {};
  int64_t min_length = 0, min_new_tokens = 0;
  Integers forced_stop_token_ids = {}, suppress_token_ids = {}, begin_suppress_token_ids = {};
  bool do_sample = false;

  bool stops_at(int64_t token_id) const;
  // How many tokens an answer has at most, never less than one.
  int64_t limit(int64_t prompt_tokens, int64_t otherwise) const;
};

Generation parse_generation(const Field& field);

// Where an answer stands: prompt and answer so far, how many of its tokens are the answer's, and the limit.
struct AnswerProgress {
  const Integers& sequence;
  int64_t answer_tokens, limit;
};

// Every penalty and ban of the settings, in the order that the manifest's schema lists.
void apply_penalties(Floats& logits, const Generation& settings, const AnswerProgress& progress);

}  // namespace vlmprune
