#include "inputs.h"

#include <bit>
#include <fstream>
#include <functional>
#include <numeric>

namespace vlmprune {
namespace {

static_assert(std::endian::native == std::endian::little, "pixels are little endian");

// Runs of the image token, each `visual_tokens` long or a multiple of it.
std::vector<Span> find_spans(const Integers& token_ids, const Manifest& manifest, const Field& field) {
  const int64_t tokens = manifest.pruner.visual_tokens, size = static_cast<int64_t>(token_ids.size());
  std::vector<Span> spans;
  for (int64_t start = 0; start < size; ++start) {
    if (token_ids[static_cast<size_t>(start)] != manifest.image_token_id) continue;
    const int64_t stop = start + tokens;
    for (int64_t nth = start; nth < stop; ++nth) {
      if (nth >= size || token_ids[static_cast<size_t>(nth)] != manifest.image_token_id) {
        throw field.error("an image takes " + std::to_string(tokens) + " tokens in a row, got " +
                          std::to_string(nth - start));
      }
    }
    spans.push_back({start, stop});
    start = stop - 1;
  }
  if (spans.empty()) throw field.error("has no place for an image");
  return spans;
}

void check_ids(const Prompt& prompt, const Manifest& manifest, const Field& field) {
  const int64_t vocabulary = manifest.text_model.vocab_size;
  for (const int64_t id : prompt.token_ids) {
    if (id != manifest.image_token_id && id >= vocabulary) {
      throw field.error("got " + std::to_string(id) + ", allowed: 0 to " + std::to_string(vocabulary - 1));
    }
  }
  const auto room = static_cast<size_t>(manifest.context_tokens);
  if (prompt.token_ids.size() > room) {
    throw bad_request("the prompt takes " + std::to_string(prompt.token_ids.size()) +
                      " tokens with its image, the context has " + std::to_string(room));
  }
}

Picture parse_picture(const Field& field) {
  Picture picture{field.at("name").text(), std::nullopt, field.at("width_px").whole(1), field.at("height_px").whole(1)};
  if (const auto digest = field.find("sha256")) picture.sha256 = digest->text();
  return picture;
}

}  // namespace

Prompt read_prompt(const std::filesystem::path& path, const Manifest& manifest) {
  const Document document(path, Origin::request);
  const Field root = document.root(), ids = root.at("token_ids");
  Prompt prompt{root.at("prompt").text(), parse_picture(root.at("image")), ids.whole_numbers(0), {}};
  check_ids(prompt, manifest, ids);
  prompt.spans = find_spans(prompt.token_ids, manifest, ids);
  return prompt;
}

std::vector<Array> read_pixels(const std::filesystem::path& path, const Manifest& manifest, size_t images) {
  const auto& shape = manifest.input("vision", "pixels").shape;
  const auto numbers =
      static_cast<size_t>(std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>()));
  const size_t expected = images * numbers * sizeof(float);
  std::error_code failure;
  if (!std::filesystem::is_regular_file(path, failure)) throw bad_request("pixels " + path.string() + ": no such file");
  const auto size = std::filesystem::file_size(path, failure);
  if (failure || size != expected) {
    throw bad_request("pixels " + path.string() + ": got " + std::to_string(size) + " bytes, expected " +
                      std::to_string(expected));
  }
  std::ifstream file(path, std::ios::binary);
  std::vector<Array> pixels;
  for (size_t nth = 0; nth < images; ++nth) {
    Floats values(numbers);
    file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(numbers * sizeof(float)));
    pixels.push_back({shape, std::move(values)});
  }
  if (!file) throw bad_request("pixels " + path.string() + ": cannot be read");
  return pixels;
}

}  // namespace vlmprune
