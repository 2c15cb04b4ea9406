// Measuring a bundle: pruned and unpruned interleaved, after warm-ups.
#pragma once

#include <vector>

#include "decode.h"
#include "device.h"

namespace vlmprune {

// One run of a round.
struct TimedRun {
  int64_t round;
  bool prune;
  Answer answer;
};

// Memory of the process as the first runs made it, pruned before unpruned.
struct Memory {
  std::optional<int64_t> before_load, after_load, pruned_peak, unpruned_peak;
};

struct Measurement {
  DeviceState before, after;
  std::vector<TimedRun> runs;
};

// The first warm-up: once each way, which sets the peaks.
void measure_peaks(Program& program, const Manifest& manifest, const Task& task, Memory& memory);

// Each round runs both ways, one directly after the other, and the next round turns them round.
std::vector<TimedRun> run_rounds(Program& program, const Manifest& manifest, const Task& task, int64_t rounds);

// A bad request unless prompt and answer fit the context; the last token takes no room.
void check_context_fits(const Manifest& manifest, const Task& task);

}  // namespace vlmprune
