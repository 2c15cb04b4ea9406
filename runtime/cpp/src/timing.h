// Holds the times of one run, stage by stage.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "program.h"

namespace vlmprune {

using Clock = std::chrono::steady_clock;

inline double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// `ttft_ms` runs from receiving pixels and ids to choosing the first token, so it slightly exceeds the sum of the
// stages.
struct Timings {
  std::map<std::string, double> stages_ms;  // all images together; stages that did not run are absent
  double ttft_ms = 0;
  std::vector<double> decode_ms;
  std::optional<double> follow_up_ms = {};  // to the first token behind a further question

  double stage_ms(const std::string& stage) const;
  // Returns the time that the language model takes for the prompt: its decoder and prune stages.
  double llm_prefill_ms(const Manifest& manifest) const;
  // Returns the mean time of the tokens after the first.
  double decode_ms_per_token() const;
};

// Runs the stage, and adds its time to the timings.
Arrays timed(Program& program, const Call& call, const Arrays& inputs, Timings& timings);

}  // namespace vlmprune
