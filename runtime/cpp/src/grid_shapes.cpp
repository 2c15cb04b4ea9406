#include "grid_shapes.h"

#include <algorithm>

namespace vlmprune {
namespace {

// Numbers of rows on the first grid, and on the grid in question.
using Rows = std::map<int64_t, int64_t>;

struct TokensAtCut {
  int64_t before, after;
};

// The rows that the vision stage gives for a view, or for all tiles of a mosaic.
int64_t tokens_of_vision(const Manifest& manifest, size_t index) {
  return index < manifest.grids.size() ? manifest.grids[index].view_tokens() : manifest.tokens_of(index)[0];
}

// The tokens of a view before and after the cut of a prune stage; a vision stage drops none.
TokensAtCut tokens_at_cut(const Manifest& manifest, const std::string& name, size_t index) {
  const int64_t all = tokens_of_vision(manifest, index);
  if (manifest.stage(name).role == Role::vision) return {all, all};
  const auto& cuts = manifest.cuts;
  const auto has_name = [&](const Cut& cut) { return cut.stage == name; };
  const auto nth = static_cast<size_t>(std::find_if(cuts.begin(), cuts.end(), has_name) - cuts.begin());
  const auto tokens = manifest.tokens_of(index);
  return {tokens[nth], tokens[nth + 1]};
}

void replace_rows(TensorSpec& spec, const Rows& rows) {
  if (spec.shape.empty()) return;
  if (const auto found = rows.find(spec.shape[0]); found != rows.end()) spec.shape[0] = found->second;
}

bool is_visual(const Manifest& manifest, const Source& source) {
  if (source.part == Part::visual) return true;
  return !source.is_external() && manifest.stage(source.stage).role == Role::vision;
}

}  // namespace

Stage stage_on_grid(const Manifest& manifest, const std::string& name, size_t index) {
  Stage stage = manifest.stage(name);
  if (index == 0 || (stage.role != Role::vision && stage.role != Role::prune)) return stage;
  const TokensAtCut then = tokens_at_cut(manifest, name, 0), here = tokens_at_cut(manifest, name, index);
  Rows given{{tokens_of_vision(manifest, 0), tokens_of_vision(manifest, index)}};
  given.emplace(then.before, here.before);
  for (TensorSpec& input : stage.inputs) {
    if (input.source.stage == "image" && input.shape.size() >= 2 && index < manifest.grids.size()) {
      const Grid& grid = manifest.grids[index];
      input.shape[input.shape.size() - 2] = grid.height_px;
      input.shape[input.shape.size() - 1] = grid.width_px;
    } else if (is_visual(manifest, input.source)) {
      replace_rows(input, given);
    }
  }
  for (TensorSpec& output : stage.outputs) replace_rows(output, {{then.after, here.after}});
  return stage;
}

}  // namespace vlmprune
