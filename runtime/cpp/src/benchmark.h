// Measures a bundle, pruned and unpruned runs interleaved, after warm-ups.
#pragma once

#include <vector>

#include "decode.h"
#include "device.h"

namespace vlmprune {

// Holds one run of a round.
struct TimedRun {
  int64_t round;
  bool prune;
  Answer answer;
};

// Holds the memory of the process; the first runs set the peaks, the pruned run before the unpruned run.
struct Memory {
  std::optional<int64_t> before_load, after_load, pruned_peak, unpruned_peak;
};

struct Measurement {
  DeviceState before, after;
  std::vector<TimedRun> runs;
};

// Runs the first warm-up, once in each mode, which sets the peaks.
void measure_peaks(Program& program, const Manifest& manifest, const Task& task, Memory& memory);

// Runs the rounds. Each round runs both modes one directly after the other, and the next round reverses their order.
std::vector<TimedRun> run_rounds(Program& program, const Manifest& manifest, const Task& task, int64_t rounds);

// Throws a bad request unless prompt and answer fit the context; the last token is not written to the cache.
void check_context_fits(const Manifest& manifest, const Task& task);

}  // namespace vlmprune
