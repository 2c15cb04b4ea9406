#include "softmax.h"

#include <algorithm>
#include <cstring>

namespace vlmprune {
namespace {

// Adding and taking away 1.5 * 2^23 rounds to a whole number without a call.
constexpr float kRounder = 12582912.0f;
constexpr float kLog2E = 1.44269504f;
constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
constexpr float kMinExponent = -87.0f;  // below it the power of two would not be a normal number
constexpr int64_t kLanes = 16;

// e to the x for x <= 0: a power of two times the Taylor series on +-ln(2)/2, within 3e-7 of itself.
inline float exponential(float x) {
  x = std::max(x, kMinExponent);
  const float whole = (x * kLog2E + kRounder) - kRounder;
  const float rest = (x - whole * kLn2High) - whole * kLn2Low;
  float series = 1.0f / 720;
  series = series * rest + 1.0f / 120;
  series = series * rest + 1.0f / 24;
  series = series * rest + 1.0f / 6;
  series = series * rest + 0.5f;
  series = series * rest + 1.0f;
  series = series * rest + 1.0f;
  const int32_t bits = (static_cast<int32_t>(whole) + 127) * (1 << 23);
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return series * power;
}

// As many partial results as a wide register has lanes: a compiler may not reorder one by itself.
float largest(const float* values, int64_t size) {
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, values[0]);
  const int64_t whole = size - size % kLanes;
  for (int64_t start = 0; start < whole; start += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] = std::max(lanes[lane], values[start + lane]);
  }
  for (int64_t nth = whole; nth < size; ++nth) lanes[0] = std::max(lanes[0], values[nth]);
  return *std::max_element(lanes, lanes + kLanes);
}

float sum(const float* values, int64_t size) {
  float lanes[kLanes] = {};
  const int64_t whole = size - size % kLanes;
  for (int64_t start = 0; start < whole; start += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += values[start + lane];
  }
  float total = 0;
  for (int64_t nth = whole; nth < size; ++nth) total += values[nth];
  for (const float lane : lanes) total += lane;
  return total;
}

}  // namespace

void softmax(float* scores, int64_t seen, int64_t size) {
  const float top = largest(scores, seen);
  for (int64_t nth = 0; nth < seen; ++nth) scores[nth] = exponential(scores[nth] - top);
  const float share = 1 / sum(scores, seen);
  for (int64_t nth = 0; nth < seen; ++nth) scores[nth] *= share;
  std::fill(scores + seen, scores + size, 0.0f);
}

}  // namespace vlmprune
