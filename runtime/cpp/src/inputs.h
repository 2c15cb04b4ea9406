// What `vlmprune-run --dump` writes: pixels and a prompt as token ids.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "array.h"
#include "manifest.h"

namespace vlmprune {

// The picture that the pixels were made of, as a benchmark record names it.
struct ImageInfo {
  std::string name;
  std::optional<std::string> sha256;
  int64_t width_px, height_px;
};

// Places `start` to `stop` - 1 of a prompt, which the visual tokens of one view take, and the index of the view's grid.
struct Span {
  int64_t start, stop;
  size_t grid;
};

struct Prompt {
  std::string text;
  ImageInfo picture;
  Integers token_ids;
  std::vector<Span> spans;
};

// The prompt in a JSON file; a bad request unless its ids belong to this bundle and fit its context.
Prompt read_prompt(const std::filesystem::path& path, const Manifest& manifest);

// One view a span, raw float32, little endian, each (1, 3, H, W) of its grid.
std::vector<Array> read_pixels(const std::filesystem::path& path, const Manifest& manifest,
                               const std::vector<Span>& spans);

}  // namespace vlmprune
