#include "timing.h"

#include <numeric>

namespace vlmprune {

double Timings::stage_ms(const std::string& stage) const {
  const auto found = stages_ms.find(stage);
  return found == stages_ms.end() ? 0 : found->second;
}

double Timings::decode_ms_per_token() const {
  return std::accumulate(decode_ms.begin(), decode_ms.end(), 0.0) / static_cast<double>(decode_ms.size());
}

Arrays timed(Program& program, const std::string& stage, const Arrays& inputs, Timings& timings) {
  const auto start = Clock::now();
  Arrays outputs = program.run(stage, inputs);
  timings.stages_ms[stage] += ms_since(start);
  return outputs;
}

}  // namespace vlmprune
