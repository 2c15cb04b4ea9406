// Applies the settings of `generation` in bundle.json to the logits, as vlmprune_runtime/penalties.py does. This runner
// does not sample.
#pragma once

#include <optional>
#include <vector>

#include "array.h"
#include "document.h"

namespace vlmprune {

// Holds the manifest's settings; by default no token ends an answer and none is penalised.
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
  // Returns how many tokens an answer may have, at least one.
  int64_t limit(int64_t prompt_tokens, int64_t otherwise) const;
};

Generation parse_generation(const Field& field);

// Holds the prompt and the answer so far, how many of these tokens belong to the answer, and the limit of their number.
struct AnswerProgress {
  const Integers& sequence;
  int64_t answer_tokens, limit;
};

// Applies every penalty and ban of the settings in the order of the manifest's schema.
void apply_penalties(Floats& logits, const Generation& settings, const AnswerProgress& progress);

}  // namespace vlmprune
