#include "decode.h"

#include <algorithm>
#include <cmath>

namespace vlmprune {
namespace {

// Returns the likeliest token after the settings have changed the logits; `sequence` is all before it, of which
// `answer_tokens` belong to the answer.
int64_t choose_token(const Manifest& manifest, Floats logits, const Decoding& decoding, const Integers& sequence,
                     size_t answer_tokens) {
  if (std::any_of(logits.begin(), logits.end(), [](float logit) { return std::isnan(logit); })) {
    throw engine_error(manifest.prefill.back(), "the logits are not numbers");
  }
  apply_penalties(logits, decoding.generation, {sequence, static_cast<int64_t>(answer_tokens), decoding.max_tokens});
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

// The answer behind the tokens that are held, from the state behind them; the prefill began at `start`.
void generate(Program& program, const Manifest& manifest, const Decoding& decoding, Clock::time_point start,
              Answer& answer) {
  Integers sequence = answer.held;
  int64_t token = choose_token(manifest, answer.state.logits, decoding, sequence, 0);
  answer.timings.ttft_ms = ms_since(start);
  while (!decoding.generation.stops_at(token)) {
    answer.token_ids.push_back(token);
    const bool enough = static_cast<int64_t>(answer.token_ids.size()) >= decoding.max_tokens;
    if (enough || answer.state.fills(manifest.context_tokens)) break;
    const auto began = Clock::now();
    Timings unused;
    answer.state = extend(manifest, program, {token}, answer.state, unused);
    answer.held.push_back(token);
    sequence.push_back(token);
    token = choose_token(manifest, answer.state.logits, decoding, sequence, answer.token_ids.size());
    answer.timings.decode_ms.push_back(ms_since(began));
  }
  answer.past_tokens = answer.state.past_tokens;
}

// The time of the first token behind a follow-up, with which the last token of the answer is run.
double follow_up_ms(Program& program, const Manifest& manifest, const Task& task, const Answer& answer) {
  const auto start = Clock::now();
  Integers token_ids = {answer.token_ids.back()};
  token_ids.insert(token_ids.end(), task.follow_up->added.begin(), task.follow_up->added.end());
  Timings unused;
  const State state = extend(manifest, program, token_ids, answer.state, unused);
  choose_token(manifest, state.logits, task.decoding, answer.held, 0);
  return ms_since(start);
}

}  // namespace

Answer answer(Program& program, const Manifest& manifest, const Task& task, bool prune) {
  Answer answer{};
  const auto start = Clock::now();
  answer.state = prefill(manifest, program, task.prompt.given(prune), prune, {}, answer.timings);
  answer.held = task.prompt.given(prune).token_ids;
  answer.selections = answer.state.selections;
  generate(program, manifest, task.decoding, start, answer);
  if (task.follow_up) answer.timings.follow_up_ms = follow_up_ms(program, manifest, task, answer);
  return answer;
}

Answer go_on(Program& program, const Manifest& manifest, const FurtherTask& task, const Answer& before) {
  Answer answer{};
  const auto start = Clock::now();
  const Integers& token_ids = task.token_ids();
  const auto room = static_cast<size_t>(manifest.context_tokens);
  if (token_ids.size() > room) {
    throw bad_request("the conversation takes " + std::to_string(token_ids.size()) +
                      " tokens by now, the context has " + std::to_string(room));
  }
  // The last token is run in any case, for its logits.
  const auto end = std::mismatch(before.held.begin(), before.held.end(), token_ids.begin(), token_ids.end() - 1);
  const Error other = bad_request("the follow-up has other images than the conversation that it goes on with");
  const auto is_visual = [&](int64_t id) { return id == manifest.image_token_id; };
  if (std::any_of(end.first, before.held.end(), is_visual)) throw other;
  Given added{{end.second, token_ids.end()}, {}, task.question.pixels, task.question.images.tiles};
  added.spans =
      find_spans(added.token_ids, manifest, task.question.images.grids, [&](const std::string&) { return other; });
  const State state = before.state.rewound(before.held.end() - end.first);
  answer.state = prefill(manifest, program, added, task.prune, state, answer.timings);
  answer.held = token_ids;
  answer.selections = answer.state.selections;
  generate(program, manifest, task.decoding, start, answer);
  return answer;
}

}  // namespace vlmprune
