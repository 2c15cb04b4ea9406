// Sums timed runs up: both modes, the ratios between them, and what the FLOPs allow.
#pragma once

#include <vector>

#include "benchmark.h"
#include "summary.h"

namespace vlmprune {

// Parts of a record's result of these names.
struct ModeComparison {
  Json unpruned, pruned, ratios, ceilings;
};

ModeComparison compare_modes(const Manifest& manifest, const Prompt& prompt, const std::vector<TimedRun>& runs);

// Keys and values of so many tokens in the cache of each decoder stage.
int64_t cache_bytes(const Manifest& manifest, const std::map<std::string, int64_t>& tokens);

}  // namespace vlmprune
