// Computes the softmax of a row of scores in loops that a compiler turns into vector instructions.
#pragma once

#include <cstdint>

namespace vlmprune {

// Turns the first `seen` of `size` scores into fractions that add up to one, and the others into zero.
void softmax(float* scores, int64_t seen, int64_t size);

}  // namespace vlmprune
