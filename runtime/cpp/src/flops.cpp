#include "flops.h"

namespace vlmprune {
namespace {

// Returns the FLOPs of one decoder layer for `rows` new tokens that see `attended` tokens; a multiply-add counts as
// two.
int64_t layer_flops(const TextModel& text, int64_t rows, int64_t attended) {
  const int64_t queries = text.attention_heads * text.head_dim, keys = text.kv_heads * text.head_dim;
  const int64_t projections = 2 * text.hidden_size * (2 * queries + 2 * keys);
  const int64_t mlp = 6 * text.hidden_size * text.intermediate_size;
  return rows * (projections + mlp + 4 * attended * queries);
}

int64_t decoder_flops(const Manifest& manifest, const std::string& name, int64_t rows, int64_t attended) {
  const Stage& stage = manifest.stage(name);
  const TextModel& text = manifest.text_model;
  const int64_t logits = stage.output("logits") ? 2 * text.hidden_size * text.vocab_size : 0;
  return stage.cache->layers * layer_flops(text, rows, attended) + logits;
}

// Adds the FLOPs of a decoder stage to those of the tail if it is the last, else to those of the head.
void add(const Manifest& manifest, const std::string& name, int64_t flops, StageFlops& sum) {
  (name == manifest.prefill.back() ? sum.tail : sum.head) += flops;
}

// Returns how many tokens of a view a cut drops.
int64_t dropped(const Grid& grid, size_t cut) {
  return (cut ? grid.keep[cut - 1] : grid.visual_tokens()) - grid.keep[cut];
}

// Returns the FLOPs of all views together, nothing if they were not counted for a grid.
std::optional<int64_t> vision_flops(const Manifest& manifest, const std::vector<size_t>& grids) {
  int64_t sum = 0;
  for (const size_t index : grids) {
    if (!manifest.grids[index].vision_flops) return {};
    sum += *manifest.grids[index].vision_flops;
  }
  return sum;
}

}  // namespace

std::map<std::string, int64_t> rows_of_decoders(const Manifest& manifest, const PrefillSize& size) {
  std::map<std::string, int64_t> found;
  int64_t rows = size.prompt_tokens;
  size_t cut = 0;
  for (const std::string& name : manifest.prefill) {
    const Role role = manifest.stage(name).role;
    if (role == Role::decoder) found[name] = rows;
    if (role != Role::prune || !size.prune) continue;
    for (const size_t index : size.grids) rows -= dropped(manifest.grids[index], cut);
    ++cut;
  }
  return found;
}

StageFlops prefill_flops(const Manifest& manifest, const PrefillSize& size) {
  StageFlops sum{std::nullopt, 0, 0};
  sum.vision = vision_flops(manifest, size.grids);
  for (const auto& [name, rows] : rows_of_decoders(manifest, size)) {
    add(manifest, name, decoder_flops(manifest, name, rows, rows), sum);
  }
  return sum;
}

StageFlops decode_flops(const Manifest& manifest, const std::map<std::string, int64_t>& past_tokens) {
  StageFlops sum{0, 0, 0};
  for (const auto& [name, past] : past_tokens) {
    add(manifest, name, decoder_flops(manifest, name, 1, past + 1), sum);
  }
  return sum;
}

}  // namespace vlmprune
