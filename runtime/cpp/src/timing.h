// What one run has taken, stage by stage.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "program.h"

namespace vlmprune {

using Clock = std::chrono::steady_clock;

inline double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// `ttft_ms` runs from pixels and ids in to the first token chosen, so it is a little more than the sum of the stages.
struct Timings {
  std::map<std::string, double> stages_ms;  // all images together; a stage that did not run is not there
  double ttft_ms = 0;
  std::vector<double> decode_ms;

  double stage_ms(const std::string& stage) const;
  // Decoder and prune stages: what the language model takes for the prompt.
  double llm_prefill_ms(const Manifest& manifest) const;
  // Mean of the tokens after the first.
  double decode_ms_per_token() const;
};

// Runs the stage and adds its time.
Arrays timed(Program& program, const Call& call, const Arrays& inputs, Timings& timings);

}  // namespace vlmprune
