#include "decode.h"

#include <algorithm>
#include <cmath>

namespace vlmprune {
namespace {

// The likeliest token after the settings have changed the logits.
int64_t chosen(Floats logits, const Task& task, const Integers& answer) {
  if (std::any_of(logits.begin(), logits.end(), [](float one) { return std::isnan(one); })) {
    throw engine_error("tail", "the logits are not numbers");
  }
  Integers sequence = task.prompt.token_ids;
  sequence.insert(sequence.end(), answer.begin(), answer.end());
  adjust(logits, task.generation, {sequence, static_cast<int64_t>(answer.size()), task.max_tokens});
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

// The state after one more token, whose position is that in the unpruned sequence.
State decode(Program& program, int64_t token_id, const State& state) {
  const Integers position = {state.position};
  const Arrays embedded = program.run("embed", {{"token_ids", {{1}, Integers{token_id}}}});
  const Arrays head =
      program.run("head", step_inputs("embeddings", embedded.at("embeddings").floats(), position, state.head_tokens));
  const Arrays tail =
      program.run("tail", step_inputs("hidden", head.at("hidden").floats(), position, state.tail_tokens));
  return {tail.at("logits").floats(), state.head_tokens + 1, state.tail_tokens + 1, state.position + 1};
}

}  // namespace

Answer answer(Program& program, const Manifest& manifest, const Task& task, bool prune) {
  Answer found{};
  const auto start = Clock::now();
  State state = prefill(program, task.prompt, task.pixels, prune, found.timings);
  int64_t token = chosen(state.logits, task, found.token_ids);
  found.timings.ttft_ms = ms_since(start);
  while (!task.generation.stops_at(token)) {
    found.token_ids.push_back(token);
    const bool enough = static_cast<int64_t>(found.token_ids.size()) >= task.max_tokens;
    if (enough || state.head_tokens >= manifest.context_tokens) break;
    const auto began = Clock::now();
    state = decode(program, token, state);
    token = chosen(state.logits, task, found.token_ids);
    found.timings.decode_ms.push_back(ms_since(began));
  }
  found.head_tokens = state.head_tokens;
  found.tail_tokens = state.tail_tokens;
  return found;
}

}  // namespace vlmprune
