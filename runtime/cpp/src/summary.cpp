#include "summary.h"

#include <algorithm>
#include <cmath>

namespace vlmprune {

double rounded(double value) { return std::round(value * 1e4) / 1e4; }

double percentile(Times values, double percent) {
  std::sort(values.begin(), values.end());
  const double place = percent / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
}

Json spread(const Times& values) {
  return {{"p50", rounded(percentile(values, 50))},
          {"p90", rounded(percentile(values, 90))},
          {"min", rounded(*std::min_element(values.begin(), values.end()))}};
}

Json paired_ratio(const Times& slow, const Times& fast) {
  Times ratios;
  for (size_t nth = 0; nth < slow.size(); ++nth) ratios.push_back(slow[nth] / fast[nth]);
  return {{"median", rounded(percentile(ratios, 50))},
          {"p10", rounded(percentile(ratios, 10))},
          {"p90", rounded(percentile(ratios, 90))}};
}

}  // namespace vlmprune
