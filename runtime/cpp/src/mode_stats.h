// Sums timed runs up: the statistics of both modes, the ratios between them, and the limits that FLOPs set.
#pragma once

#include <vector>

#include "benchmark.h"
#include "summary.h"

namespace vlmprune {

// Holds the parts of a record's result that have these names.
struct ModeComparison {
  Json unpruned, pruned, ratios, ceilings;
};

ModeComparison compare_modes(const Manifest& manifest, const Prompt& prompt, const std::vector<TimedRun>& runs);

// Returns the size of the keys and values of so many tokens in the cache of each decoder stage.
int64_t cache_bytes(const Manifest& manifest, const std::map<std::string, int64_t>& tokens);

}  // namespace vlmprune
