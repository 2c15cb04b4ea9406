#include "positions.h"

#include <algorithm>
#include <numeric>

namespace vlmprune {
namespace {

Integers selected(const Integers& values, const std::vector<bool>& remaining) {
  Integers found;
  for (size_t nth = 0; nth < values.size(); ++nth) {
    if (remaining[nth]) found.push_back(values[nth]);
  }
  return found;
}

Integers counted(int64_t start, size_t count) {
  Integers values(count);
  std::iota(values.begin(), values.end(), start);
  return values;
}

// Returns the visual tokens of a view, row by row.
Tokens place_view(const Manifest& manifest, const Grid& grid, int64_t start, int64_t view) {
  const auto count = static_cast<size_t>(grid.visual_tokens());
  Tokens tokens{Integers(count, 0), {}, Integers(count, view), counted(0, count), 0};
  if (manifest.positions.by_grid) {
    tokens.positions.assign(3, Integers(count, start));  // time, row, column
    for (size_t nth = 0; nth < count; ++nth) {
      tokens.positions[1][nth] += tokens.cell[nth] / grid.width;
      tokens.positions[2][nth] += tokens.cell[nth] % grid.width;
    }
  } else {
    tokens.positions = {counted(start, count)};
  }
  for (const Integers& axis : tokens.positions) {
    tokens.next_position = std::max(tokens.next_position, *std::max_element(axis.begin(), axis.end()) + 1);
  }
  return tokens;
}

void append(Integers& values, const Integers& more) { values.insert(values.end(), more.begin(), more.end()); }

void append(Tokens& tokens, const Tokens& more) {
  append(tokens.token_ids, more.token_ids);
  append(tokens.view, more.view);
  append(tokens.cell, more.cell);
  for (size_t axis = 0; axis < tokens.positions.size(); ++axis) append(tokens.positions[axis], more.positions[axis]);
  tokens.next_position = more.next_position;
}

}  // namespace

bool contains(const Integers& views, int64_t view) {
  return std::find(views.begin(), views.end(), view) != views.end();
}

std::vector<size_t> Tokens::places(const Integers& of_views) const {
  std::vector<size_t> found;
  for (size_t nth = 0; nth < view.size(); ++nth) {
    if (contains(of_views, view[nth])) found.push_back(nth);
  }
  return found;
}

Tokens Tokens::select(const std::vector<bool>& remaining) const {
  Tokens left{token_ids, {}, selected(view, remaining), selected(cell, remaining), next_position};
  for (const Integers& axis : positions) left.positions.push_back(selected(axis, remaining));
  return left;
}

Tokens place_text(const Manifest& manifest, const Integers& token_ids, int64_t start) {
  const size_t count = token_ids.size();
  const std::vector<Integers> positions(static_cast<size_t>(manifest.positions.axes), counted(start, count));
  return {token_ids, positions, Integers(count, kText), Integers(count, -1), start + static_cast<int64_t>(count)};
}

// Returns the tokens of a view that stand before those of its grid.
static Tokens place_prefix(const Manifest& manifest, int64_t count, int64_t start) {
  Tokens tokens = place_text(manifest, Integers(static_cast<size_t>(count), 0), start);
  tokens.view.assign(static_cast<size_t>(count), kPrefix);
  return tokens;
}

Tokens place_prompt(const Manifest& manifest, const Given& prompt, int64_t start) {
  const auto text = [&](int64_t from, int64_t stop) {
    return Integers(prompt.token_ids.begin() + from, prompt.token_ids.begin() + stop);
  };
  Tokens tokens = place_text(manifest, {}, start);
  int64_t at = 0;
  for (size_t nth = 0; nth < prompt.spans.size(); ++nth) {
    const Span& span = prompt.spans[nth];
    append(tokens, place_text(manifest, text(at, span.start), tokens.next_position));
    append(tokens, place_prefix(manifest, manifest.grids[span.grid].prefix_tokens, tokens.next_position));
    append(tokens, place_view(manifest, manifest.grids[span.grid], tokens.next_position, static_cast<int64_t>(nth)));
    at = span.stop;
  }
  const auto size = static_cast<int64_t>(prompt.token_ids.size());
  append(tokens, place_text(manifest, text(at, size), tokens.next_position));
  return tokens;
}

std::vector<PruneGroup> groups_of(const Manifest& manifest, const Given& prompt) {
  std::vector<PruneGroup> groups;
  const auto views = static_cast<int64_t>(prompt.spans.size());
  const auto add_alone = [&](int64_t view) {
    groups.push_back({{view}, static_cast<int64_t>(prompt.spans[static_cast<size_t>(view)].grid)});
  };
  int64_t view = 0;
  for (const Tiles& image : manifest.mosaics.empty() ? std::vector<Tiles>{} : prompt.tiles) {
    const int64_t tiles = image.rows * image.columns;
    if (tiles) {
      const int64_t mosaic = manifest.mosaic_index(image.rows, image.columns);
      groups.push_back({counted(view, static_cast<size_t>(tiles)), mosaic});
    }
    add_alone(view + tiles);  // the whole image
    view += tiles + 1;
  }
  while (view < views) add_alone(view++);
  return groups;
}

}  // namespace vlmprune
