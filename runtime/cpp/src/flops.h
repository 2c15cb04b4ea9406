// FLOPs of every stage, counted as vlmprune_runtime/flops.py counts them.
#pragma once

#include <optional>

#include "manifest.h"

namespace vlmprune {

struct StageFlops {
  std::optional<int64_t> vision;
  int64_t head, tail;

  int64_t llm() const { return head + tail; }
};

// Prefill of a prompt of so many tokens, visual ones included.
StageFlops prefill_flops(const Manifest& manifest, int64_t prompt_tokens, int64_t images, bool prune);

// One new token after so many tokens in each cache.
int64_t decode_flops(const Manifest& manifest, int64_t head_tokens, int64_t tail_tokens);

}  // namespace vlmprune
