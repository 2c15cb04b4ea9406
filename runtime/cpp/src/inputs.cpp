#include "inputs.h"

#include <bit>
#include <fstream>

namespace vlmprune {
namespace {

static_assert(std::endian::native == std::endian::little, "pixels are little endian");

// Returns the grid of a view; it is the first grid if the file names none.
size_t grid_of(const std::optional<Field>& given, size_t view, const Manifest& manifest) {
  if (!given) return 0;
  const auto grids = given->integers(0);
  const auto count = static_cast<int64_t>(manifest.grids.size());
  if (view >= grids.size()) throw given->error("has fewer grids than the prompt has images");
  if (grids[view] >= count)
    throw given->error("got a grid that the bundle does not have; it has " + std::to_string(count));
  return static_cast<size_t>(grids[view]);
}

// Returns the runs of the image token, each as long as the view has tokens.
std::vector<Span> find_spans(const Integers& token_ids, const Manifest& manifest, const Field& root) {
  const auto size = static_cast<int64_t>(token_ids.size());
  const auto is_visual = [&](int64_t place) {
    return place < size && token_ids[static_cast<size_t>(place)] == manifest.image_token_id;
  };
  const Field field = root.at("token_ids");
  std::vector<Span> spans;
  for (int64_t start = 0; start < size; ++start) {
    if (!is_visual(start)) continue;
    const size_t grid = grid_of(root.find("grids"), spans.size(), manifest);
    const int64_t tokens = manifest.grids[grid].view_tokens();
    for (int64_t nth = start; nth < start + tokens; ++nth) {
      if (!is_visual(nth)) {
        throw field.error("an image takes " + std::to_string(tokens) + " tokens in a row, got " +
                          std::to_string(nth - start));
      }
    }
    spans.push_back({start, start + tokens, grid});
    start += tokens - 1;
  }
  if (spans.empty()) throw field.error("has no place for an image");
  return spans;
}

void check_ids(const Integers& token_ids, const Manifest& manifest, const Field& field) {
  const int64_t vocabulary = manifest.text_model.vocab_size;
  for (const int64_t id : token_ids) {
    if (id != manifest.image_token_id && id >= vocabulary) {
      throw field.error("got " + std::to_string(id) + ", allowed: 0 to " + std::to_string(vocabulary - 1));
    }
  }
}

void check_room(const Integers& token_ids, const Manifest& manifest) {
  const auto room = static_cast<size_t>(manifest.context_tokens);
  if (token_ids.size() > room) {
    throw bad_request("the prompt takes " + std::to_string(token_ids.size()) +
                      " tokens with its image, the context has " + std::to_string(room));
  }
}

Integers ids_at(const Field& root, const std::string& name, const Manifest& manifest) {
  const Field field = root.at(name);
  const Integers token_ids = field.integers(0);
  check_ids(token_ids, manifest, field);
  if (token_ids.empty()) throw field.error("should have a token, got []");
  return token_ids;
}

ImageInfo parse_image_info(const Field& field) {
  ImageInfo picture{field.at("name").text(), std::nullopt, field.at("width_px").integer(1),
                    field.at("height_px").integer(1)};
  if (const auto digest = field.find("sha256")) picture.sha256 = digest->text();
  return picture;
}

void check_size(const std::filesystem::path& path, size_t expected) {
  std::error_code failure;
  if (!std::filesystem::is_regular_file(path, failure)) throw bad_request("pixels " + path.string() + ": no such file");
  const auto size = std::filesystem::file_size(path, failure);
  if (failure || size != expected) {
    throw bad_request("pixels " + path.string() + ": got " + std::to_string(size) + " bytes, expected " +
                      std::to_string(expected));
  }
}

Given parse_given(const Field& field, const Manifest& manifest) {
  const Field ids = field.at("token_ids");
  Given given{ids.integers(0), {}, {}};
  check_ids(given.token_ids, manifest, ids);
  check_room(given.token_ids, manifest);
  given.spans = find_spans(given.token_ids, manifest, field);
  return given;
}

// Adds the views of the spans, and returns how many numbers they have.
size_t add_views(const Manifest& manifest, Given& given) {
  size_t numbers = 0;
  for (const Span& span : given.spans) {
    const Grid& grid = manifest.grids[span.grid];
    const auto count = static_cast<size_t>(3 * grid.height_px * grid.width_px);
    given.pixels.push_back({{1, 3, grid.height_px, grid.width_px}, Floats(count)});
    numbers += count;
  }
  return numbers;
}

void read_views(std::ifstream& file, Given& given) {
  for (Array& view : given.pixels) {
    Floats& values = view.floats();
    file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
  }
}

}  // namespace

Prompt read_prompt(const std::filesystem::path& path, const Manifest& manifest) {
  const Document document(path, Origin::request);
  const Field root = document.root();
  Prompt prompt{root.at("prompt").text(), parse_image_info(root.at("image")), parse_given(root, manifest), {}};
  if (manifest.smaller_picture) prompt.pruned = parse_given(root.at("pruned"), manifest);
  return prompt;
}

FollowUp read_follow_up(const std::filesystem::path& path, const Manifest& manifest) {
  const Document document(path, Origin::request);
  const Field root = document.root();
  const auto ids = [&](const std::string& name) { return ids_at(root, name, manifest); };
  return {root.at("prompt").text(), ids("pruned"), ids("unpruned"), ids("added")};
}

void read_pixels(const std::filesystem::path& path, const Manifest& manifest, Prompt& prompt) {
  const size_t numbers = add_views(manifest, prompt.whole);
  const size_t smaller = prompt.pruned ? add_views(manifest, *prompt.pruned) : 0;
  check_size(path, (numbers + smaller) * sizeof(float));
  std::ifstream file(path, std::ios::binary);
  read_views(file, prompt.whole);
  if (prompt.pruned) read_views(file, *prompt.pruned);
  if (!file) throw bad_request("pixels " + path.string() + ": cannot be read");
}

}  // namespace vlmprune
