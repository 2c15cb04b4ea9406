// Numbers that go into a stage or come out of it; always the caller's own copy.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace vlmprune {

using Floats = std::vector<float>;
using Integers = std::vector<int64_t>;

struct Array {
  std::vector<int64_t> shape;
  std::variant<Floats, Integers> values;

  const Floats& floats() const { return std::get<Floats>(values); }
  const Integers& integers() const { return std::get<Integers>(values); }
};

using Arrays = std::map<std::string, Array>;

}  // namespace vlmprune
