// Makes the benchmark record, which is valid against vlmprune_runtime/benchmark/schema.json.
#pragma once

#include "benchmark.h"
#include "bundle.h"

namespace vlmprune {

// Holds what a record says besides the measurement.
struct RunMetadata {
  const Bundle& bundle;
  const Task& task;
  int64_t repetitions, warmups;
  double load_ms;
  Memory memory;
};

// Returns the record. Its stages do not include `preprocess`, because the pixels come preprocessed; times to the first
// token begin there.
Json record_of(const RunMetadata& metadata, const Measurement& measurement);

}  // namespace vlmprune
