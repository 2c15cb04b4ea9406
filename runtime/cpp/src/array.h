// Holds the numbers of a tensor that a stage takes or returns; the numbers always belong to the caller.
#pragma once

#include <algorithm>
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
  Floats& floats() { return std::get<Floats>(values); }
  const Integers& integers() const { return std::get<Integers>(values); }

  size_t rows() const { return shape.empty() ? 0 : static_cast<size_t>(shape[0]); }
  // The number of elements in one row.
  size_t width() const {
    const size_t count = std::visit([](const auto& numbers) { return numbers.size(); }, values);
    return rows() ? count / rows() : 0;
  }

  // Returns the rows where `remaining`, which has one element per row, is true.
  Array select(const std::vector<bool>& remaining) const {
    Array selected{shape, {}};
    selected.shape[0] = std::count(remaining.begin(), remaining.end(), true);
    selected.values = std::visit(
        [&](const auto& numbers) { return std::variant<Floats, Integers>(kept(numbers, remaining)); }, values);
    return selected;
  }

  // Adds the rows of another array of the same width and type.
  void append(const Array& more) {
    shape[0] += more.shape[0];
    const auto add = [&](auto& numbers) {
      const auto& others = std::get<std::decay_t<decltype(numbers)>>(more.values);
      numbers.insert(numbers.end(), others.begin(), others.end());
    };
    std::visit(add, values);
  }

 private:
  template <typename Numbers>
  Numbers kept(const Numbers& numbers, const std::vector<bool>& remaining) const {
    Numbers found;
    const auto width_ = static_cast<std::ptrdiff_t>(width());
    for (size_t row = 0; row < remaining.size(); ++row) {
      const auto first = numbers.begin() + static_cast<std::ptrdiff_t>(row) * width_;
      if (remaining[row]) found.insert(found.end(), first, first + width_);
    }
    return found;
  }
};

using Arrays = std::map<std::string, Array>;

}  // namespace vlmprune
