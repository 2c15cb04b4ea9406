// Percentiles and ratios, as vlmprune_runtime/benchmark/summary.py makes them.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

namespace vlmprune {

using Json = nlohmann::ordered_json;
using Times = std::vector<double>;

// To four places, as records keep numbers.
double rounded(double value);

// Interpolated between the nearest two.
double percentile(Times values, double percent);

// Median, 90th percentile and least.
Json spread(const Times& values);

// Slow over fast within each pair: median, 10th and 90th percentile.
Json paired_ratio(const Times& slow, const Times& fast);

}  // namespace vlmprune
