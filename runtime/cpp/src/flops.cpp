#include "flops.h"

namespace vlmprune {
namespace {

// One decoder layer for `rows` new tokens that see `attended` tokens; a multiply-add counts as two.
int64_t layer_flops(const TextModel& text, int64_t rows, int64_t attended) {
  const int64_t queries = text.attention_heads * text.head_dim, keys = text.kv_heads * text.head_dim;
  const int64_t projections = 2 * text.hidden_size * (2 * queries + 2 * keys);
  const int64_t mlp = 6 * text.hidden_size * text.intermediate_size;
  return rows * (projections + mlp + 4 * attended * queries);
}

int64_t head_flops(const Manifest& manifest, int64_t rows, int64_t attended) {
  return manifest.pruner.layer * layer_flops(manifest.text_model, rows, attended);
}

int64_t tail_flops(const Manifest& manifest, int64_t rows, int64_t attended) {
  const TextModel& text = manifest.text_model;
  return (text.layers - manifest.pruner.layer) * layer_flops(text, rows, attended) +
         2 * text.hidden_size * text.vocab_size;
}

}  // namespace

StageFlops prefill_flops(const Manifest& manifest, int64_t prompt_tokens, int64_t images, bool prune) {
  const int64_t dropped = prune ? images * (manifest.pruner.visual_tokens - manifest.pruner.keep) : 0;
  const int64_t rows = prompt_tokens - dropped;
  std::optional<int64_t> vision;
  if (manifest.vision_flops) vision = images * *manifest.vision_flops;
  return {vision, head_flops(manifest, prompt_tokens, prompt_tokens), tail_flops(manifest, rows, rows)};
}

int64_t decode_flops(const Manifest& manifest, int64_t head_tokens, int64_t tail_tokens) {
  return head_flops(manifest, 1, head_tokens + 1) + tail_flops(manifest, 1, tail_tokens + 1);
}

}  // namespace vlmprune
