// Computes percentiles and ratios as vlmprune_runtime/benchmark/summary.py does.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

namespace vlmprune {

using Json = nlohmann::ordered_json;
using Times = std::vector<double>;

// Rounds to four places, as records do.
double rounded(double value);

// Returns a percentile, interpolated between the two nearest values.
double percentile(Times values, double percent);

// Returns the median, the 90th percentile and the least value.
Json spread(const Times& values);

// Returns the median and the 10th and 90th percentile of slow over fast within each pair.
Json paired_ratio(const Times& slow, const Times& fast);

}  // namespace vlmprune
