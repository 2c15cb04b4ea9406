// Gives every token of a sequence its position, as vlmprune_runtime/positions.py does.
#pragma once

#include <vector>

#include "inputs.h"

namespace vlmprune {

// The values of `Tokens::view` for text, and for tokens of a view that belong to no place in its image.
inline constexpr int64_t kText = -1, kPrefix = -2;

// Names views whose tokens are pruned together, and the index of the grid or mosaic that they lie on.
struct PruneGroup {
  Integers views;
  int64_t grid;
};

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
  // Returns the indices of the tokens of these views.
  std::vector<size_t> places(const Integers& of_views) const;
  // Returns the tokens where `remaining` is true; `token_ids` stays complete.
  Tokens select(const std::vector<bool>& remaining) const;
};

// Returns text tokens that count on from `start` on every axis.
Tokens place_text(const Manifest& manifest, const Integers& token_ids, int64_t start);

// Returns the tokens of a prompt from position `start` on; the visual tokens of each span lie on the span's grid.
Tokens place_prompt(const Manifest& manifest, const Given& prompt, int64_t start);

// Returns the views that are pruned together: with mosaics the tiles of each image, every other view alone.
std::vector<PruneGroup> groups_of(const Manifest& manifest, const Given& prompt);

// Says whether one of the views is this one.
bool contains(const Integers& views, int64_t view);

}  // namespace vlmprune
