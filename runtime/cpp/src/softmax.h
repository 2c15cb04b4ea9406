// Softmax of a row of scores in loops that a compiler turns into vector instructions.
#pragma once

#include <cstdint>

namespace vlmprune {

// The first `seen` of `size` scores become fractions that add up to one, the others zero.
void softmax(float* scores, int64_t seen, int64_t size);

}  // namespace vlmprune
