#include "benchmark.h"

namespace vlmprune {
namespace {

std::optional<int64_t> peak_of_run(Program& program, const Manifest& manifest, const Task& task, bool prune) {
  reset_peak();
  answer(program, manifest, task, prune);
  return peak_bytes();
}

}  // namespace

void measure_peaks(Program& program, const Manifest& manifest, const Task& task, Memory& memory) {
  memory.pruned_peak = peak_of_run(program, manifest, task, true);
  memory.unpruned_peak = peak_of_run(program, manifest, task, false);
}

std::vector<TimedRun> run_rounds(Program& program, const Manifest& manifest, const Task& task, int64_t rounds) {
  std::vector<TimedRun> runs;
  for (int64_t round = 0; round < rounds; ++round) {
    const bool first = round % 2 == 1;
    for (const bool prune : {first, !first}) runs.push_back({round, prune, answer(program, manifest, task, prune)});
  }
  return runs;
}

void check_context_fits(const Manifest& manifest, const Task& task) {
  int64_t needed = static_cast<int64_t>(task.prompt.whole.token_ids.size()) + task.decoding.max_tokens - 1;
  if (task.follow_up) needed += 1 + static_cast<int64_t>(task.follow_up->added.size());
  if (needed > manifest.context_tokens) {
    const std::string parts = task.follow_up ? "prompt, answer and follow-up" : "prompt and answer";
    throw bad_request(parts + " take " + std::to_string(needed) + " tokens, the context has " +
                      std::to_string(manifest.context_tokens));
  }
}

}  // namespace vlmprune
