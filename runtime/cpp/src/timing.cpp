#include "timing.h"

#include <numeric>

namespace vlmprune {

double Timings::stage_ms(const std::string& stage) const {
  const auto found = stages_ms.find(stage);
  return found == stages_ms.end() ? 0 : found->second;
}

double Timings::llm_prefill_ms(const Manifest& manifest) const {
  double sum = 0;
  for (const auto& [name, ms] : stages_ms) {
    const Role role = manifest.stage(name).role;
    if (role == Role::decoder || role == Role::prune) sum += ms;
  }
  return sum;
}

double Timings::decode_ms_per_token() const {
  return std::accumulate(decode_ms.begin(), decode_ms.end(), 0.0) / static_cast<double>(decode_ms.size());
}

Arrays timed(Program& program, const Call& call, const Arrays& inputs, Timings& timings) {
  const auto start = Clock::now();
  Arrays outputs = program.run(call, inputs);
  timings.stages_ms[call.stage] += ms_since(start);
  return outputs;
}

}  // namespace vlmprune
