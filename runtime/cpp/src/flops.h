// Counts the FLOPs of every stage as vlmprune_runtime/flops.py does.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "manifest.h"

namespace vlmprune {

// `tail` is the last decoder stage, `head` those before it.
struct StageFlops {
  std::optional<int64_t> vision;
  int64_t head, tail;

  int64_t llm() const { return head + tail; }
};

// The size of a prefill: a prompt of so many tokens, visual tokens included, with views on these grids.
struct PrefillSize {
  int64_t prompt_tokens;
  std::vector<size_t> grids;
  bool prune;
};

// Returns how many tokens of a prompt each decoder stage sees.
std::map<std::string, int64_t> rows_of_decoders(const Manifest& manifest, const PrefillSize& size);

StageFlops prefill_flops(const Manifest& manifest, const PrefillSize& size);

// Returns the FLOPs of one new token after so many tokens in the cache of each decoder stage.
StageFlops decode_flops(const Manifest& manifest, const std::map<std::string, int64_t>& past_tokens);

}  // namespace vlmprune
