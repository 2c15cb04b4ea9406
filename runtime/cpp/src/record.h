// The benchmark record, valid against vlmprune_runtime/benchmark/schema.json.
#pragma once

#include "benchmark.h"
#include "bundle.h"

namespace vlmprune {

// All that a record tells besides the measurement.
struct RunMetadata {
  const Bundle& bundle;
  const Task& task;
  int64_t repetitions, warmups;
  double load_ms;
  Memory memory;
};

// There is no `preprocess` among its stages: pixels came ready, and times to the first token begin there.
Json record_of(const RunMetadata& metadata, const Measurement& measurement);

}  // namespace vlmprune
