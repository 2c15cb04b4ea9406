// Which tokens a sequence has; the same as vlmprune_runtime/positions.py.
#pragma once

#include <vector>

#include "inputs.h"

namespace vlmprune {

// What stands for a view in tokens of text, and in those of a view that belong to no place in its picture.
inline constexpr int64_t kText = -1, kPrefix = -2;

// S tokens: `token_ids` as they were encoded, 0 for visual ones, and of those that are left the rest: `positions` on
// each axis, `view`, the view that a token belongs to, or kText or kPrefix, and `cell`, its place on the view's grid,
// -1 where it has none.
// `next_position` is that of the token behind the last.
struct Tokens {
  Integers token_ids;
  std::vector<Integers> positions;
  Integers view, cell;
  int64_t next_position;

  int64_t count() const { return static_cast<int64_t>(view.size()); }
  // Where the tokens of a view stand.
  std::vector<size_t> places(int64_t of_view) const;
  // The tokens where `remaining` is true; what they were encoded as is kept whole.
  Tokens select(const std::vector<bool>& remaining) const;
};

// Text tokens that count on from `start` on every axis.
Tokens place_text(const Manifest& manifest, const Integers& token_ids, int64_t start);

// The tokens of a prompt; the visual ones of each span lie on the span's grid.
Tokens place_prompt(const Manifest& manifest, const Prompt& prompt);

}  // namespace vlmprune
