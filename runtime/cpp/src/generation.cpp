#include "generation.h"

#include <algorithm>
#include <limits>
#include <set>

namespace vlmprune {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

bool contains(const Integers& ids, int64_t id) { return std::find(ids.begin(), ids.end(), id) != ids.end(); }

int64_t integer_or(const Field& field, const std::string& name, int64_t least, int64_t otherwise) {
  const auto found = field.find(name);
  return found ? found->integer(least) : otherwise;
}

std::optional<int64_t> positive(const Field& field, const std::string& name) {
  const auto found = field.find(name);
  return found ? std::optional<int64_t>(found->integer(1)) : std::nullopt;
}

Integers ids_or_none(const Field& field, const std::string& name) {
  const auto found = field.find(name);
  return found ? found->integers(0) : Integers{};
}

float penalty_of(const Field& field) {
  const auto found = field.find("repetition_penalty");
  if (!found) return 1;
  const double penalty = found->number();
  if (!(penalty > 0)) throw found->error("should be above 0, got " + found->raw().dump());
  return static_cast<float>(penalty);
}

std::vector<Integers> words_of(const Field& field) {
  std::vector<Integers> words;
  const auto found = field.find("bad_words_ids");
  for (const Field& word : found ? found->items() : std::vector<Field>{}) {
    words.push_back(word.integers(0));
    if (words.back().empty()) throw word.error("should have a token, got []");
  }
  return words;
}

// Sets the logits of these tokens; ids outside the vocabulary are ignored.
void set(Floats& logits, const Integers& ids, float value) {
  for (const int64_t id : ids) {
    if (id < static_cast<int64_t>(logits.size())) logits[static_cast<size_t>(id)] = value;
  }
}

void penalise_repetition(Floats& logits, const Integers& sequence, float penalty) {
  if (penalty == 1) return;
  for (const int64_t id : std::set<int64_t>(sequence.begin(), sequence.end())) {
    if (id >= static_cast<int64_t>(logits.size())) continue;
    float& logit = logits[static_cast<size_t>(id)];
    logit = logit < 0 ? logit * penalty : logit / penalty;
  }
}

// Says whether the sequence ends with the `count` numbers before `end`.
bool ends_alike(const Integers& sequence, Integers::const_iterator end, int64_t count) {
  return std::equal(end - count, end, sequence.end() - count);
}

// Returns the tokens that would repeat an n-gram of `size` tokens which the sequence has already.
Integers repeated_ngrams(const Integers& sequence, int64_t size) {
  Integers found;
  if (size == 0) return found;
  for (int64_t last = size - 1; last < static_cast<int64_t>(sequence.size()); ++last) {
    if (ends_alike(sequence, sequence.begin() + last, size - 1)) found.push_back(sequence[static_cast<size_t>(last)]);
  }
  return found;
}

// Returns the last tokens of the bad words whose other tokens end the sequence; a stop token alone is no bad word.
Integers bad_word_tokens(const Integers& sequence, const Generation& settings) {
  Integers ends;
  for (const Integers& word : settings.bad_words_ids) {
    const auto before = static_cast<int64_t>(word.size()) - 1;
    const bool fits = before <= static_cast<int64_t>(sequence.size());
    const bool banned =
        before == 0 ? !settings.stops_at(word.back()) : fits && ends_alike(sequence, word.begin() + before, before);
    if (banned) ends.push_back(word.back());
  }
  return ends;
}

}  // namespace

bool Generation::stops_at(int64_t token_id) const { return contains(stop_token_ids, token_id); }

int64_t Generation::limit(int64_t prompt_tokens, int64_t otherwise) const {
  if (max_new_tokens) return *max_new_tokens;
  return max_length ? std::max(int64_t{1}, *max_length - prompt_tokens) : otherwise;
}

Generation parse_generation(const Field& field) {
  Generation found;
  found.stop_token_ids = field.at("stop_token_ids").integers(0);
  found.max_new_tokens = positive(field, "max_new_tokens");
  found.max_length = positive(field, "max_length");
  found.repetition_penalty = penalty_of(field);
  found.no_repeat_ngram_size = integer_or(field, "no_repeat_ngram_size", 0, 0);
  found.bad_words_ids = words_of(field);
  found.min_length = integer_or(field, "min_length", 0, 0);
  found.min_new_tokens = integer_or(field, "min_new_tokens", 0, 0);
  found.forced_stop_token_ids = ids_or_none(field, "forced_stop_token_ids");
  found.suppress_token_ids = ids_or_none(field, "suppress_token_ids");
  found.begin_suppress_token_ids = ids_or_none(field, "begin_suppress_token_ids");
  if (const auto sampled = field.find("do_sample")) found.do_sample = sampled->boolean();
  return found;
}

void apply_penalties(Floats& logits, const Generation& settings, const AnswerProgress& progress) {
  const Integers& sequence = progress.sequence;
  penalise_repetition(logits, sequence, settings.repetition_penalty);
  set(logits, repeated_ngrams(sequence, settings.no_repeat_ngram_size), kForbidden);
  set(logits, bad_word_tokens(sequence, settings), kForbidden);
  const bool is_short = static_cast<int64_t>(sequence.size()) < settings.min_length;
  if (is_short || progress.answer_tokens < settings.min_new_tokens) set(logits, settings.stop_token_ids, kForbidden);
  if (!settings.forced_stop_token_ids.empty() && progress.answer_tokens == progress.limit - 1) {
    std::fill(logits.begin(), logits.end(), kForbidden);
    set(logits, settings.forced_stop_token_ids, 0);
  }
  set(logits, settings.suppress_token_ids, kForbidden);
  if (progress.answer_tokens == 0) set(logits, settings.begin_suppress_token_ids, kForbidden);
}

}  // namespace vlmprune
