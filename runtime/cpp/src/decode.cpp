#include "decode.h"

#include <algorithm>
#include <cmath>

namespace vlmprune {
namespace {

// Returns the likeliest token after the settings have changed the logits, which are those of `stage`.
int64_t choose_token(const std::string& stage, Floats logits, const Task& task, const Integers& answer) {
  if (std::any_of(logits.begin(), logits.end(), [](float logit) { return std::isnan(logit); })) {
    throw engine_error(stage, "the logits are not numbers");
  }
  Integers sequence = task.prompt.token_ids;
  sequence.insert(sequence.end(), answer.begin(), answer.end());
  apply_penalties(logits, task.generation, {sequence, static_cast<int64_t>(answer.size()), task.max_tokens});
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

}  // namespace

Answer answer(Program& program, const Manifest& manifest, const Task& task, bool prune) {
  Answer answer{};
  const auto start = Clock::now();
  const std::string& last = manifest.prefill.back();
  State state = prefill(manifest, program, task.prompt, task.pixels, prune, answer.timings);
  int64_t token = choose_token(last, state.logits, task, answer.token_ids);
  answer.timings.ttft_ms = ms_since(start);
  answer.selections = state.selections;
  while (!task.generation.stops_at(token)) {
    answer.token_ids.push_back(token);
    const bool enough = static_cast<int64_t>(answer.token_ids.size()) >= task.max_tokens;
    if (enough || state.max_past_tokens() >= manifest.context_tokens) break;
    const auto began = Clock::now();
    state = decode(manifest, program, token, state);
    token = choose_token(last, state.logits, task, answer.token_ids);
    answer.timings.decode_ms.push_back(ms_since(began));
  }
  answer.past_tokens = state.past_tokens;
  return answer;
}

}  // namespace vlmprune
