#include "inputs.h"

#include <algorithm>
#include <bit>
#include <fstream>

namespace vlmprune {
namespace {

static_assert(std::endian::native == std::endian::little, "pixels are little endian");

// Returns the tiles of each image of so many views. Throws the field's error for others.
std::vector<Tiles> read_tiles(const Field& field, int64_t views) {
  std::vector<Tiles> tiles;
  for (const Field& image : field.items()) {
    const auto sizes = image.integers(0);
    if (sizes.size() != 2) throw image.error("should have two numbers, rows and columns");
    if (sizes[0] > views || sizes[1] > views) throw field.error("has other views than grids");
    tiles.push_back({sizes[0], sizes[1]});
    views -= sizes[0] * sizes[1] + 1;
  }
  if (views != 0) throw field.error("has other views than grids");
  return tiles;
}

// Returns the grids and the tiles of the images in a file. Without `grids` every view is an image on the first grid;
// a bundle that prunes tiles together needs both.
Images read_images(const Field& root, const Manifest& manifest) {
  Images images;
  const auto grids = manifest.mosaics.empty() ? root.find("grids") : root.at("grids");
  if (!grids) return images;
  images.grids = grids->integers(0);
  const auto count = static_cast<int64_t>(manifest.grids.size());
  if (std::any_of(images.grids.begin(), images.grids.end(), [&](int64_t grid) { return grid >= count; })) {
    throw grids->error("got a grid that the bundle does not have; it has " + std::to_string(count));
  }
  const auto tiles = manifest.mosaics.empty() ? root.find("tiles") : root.at("tiles");
  if (tiles) images.tiles = read_tiles(*tiles, static_cast<int64_t>(images.grids.size()));
  return images;
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
  ImageInfo image{field.at("name").text(), std::nullopt, field.at("width_px").integer(1),
                  field.at("height_px").integer(1)};
  if (const auto digest = field.find("sha256")) image.sha256 = digest->text();
  return image;
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

// Returns the grid of each view: the first one for every image where the file names none.
Integers all_grids(const Images& images, const Integers& token_ids, const Manifest& manifest) {
  if (!images.grids.empty()) return images.grids;
  const auto visual = std::count(token_ids.begin(), token_ids.end(), manifest.image_token_id);
  return Integers(static_cast<size_t>((visual + manifest.grids[0].view_tokens() - 1) / manifest.grids[0].view_tokens()),
                  0);
}

Given parse_given(const Field& field, const Manifest& manifest) {
  const Field ids = field.at("token_ids");
  Given given{ids.integers(0), {}, {}, {}};
  check_ids(given.token_ids, manifest, ids);
  check_room(given.token_ids, manifest);
  const Images images = read_images(field, manifest);
  const Integers grids = all_grids(images, given.token_ids, manifest);
  given.spans = find_spans(given.token_ids, manifest, grids, [&](const std::string& why) { return ids.error(why); });
  if (given.spans.empty()) throw ids.error("has no place for an image");
  given.tiles = images.tiles;
  return given;
}

// Returns a view (1, 3, H, W) of zeros for each grid.
std::vector<Array> empty_views(const Manifest& manifest, const Integers& grids) {
  std::vector<Array> views;
  for (const int64_t index : grids) {
    const Grid& grid = manifest.grids[static_cast<size_t>(index)];
    const auto count = static_cast<size_t>(3 * grid.height_px * grid.width_px);
    views.push_back({{1, 3, grid.height_px, grid.width_px}, Floats(count)});
  }
  return views;
}

// Reads all views from a file that holds nothing else, one after the other.
void read_views(const std::filesystem::path& path, const std::vector<Array*>& views) {
  size_t numbers = 0;
  for (const Array* view : views) numbers += view->floats().size();
  check_size(path, numbers * sizeof(float));
  std::ifstream file(path, std::ios::binary);
  for (Array* view : views) {
    Floats& values = view->floats();
    file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
  }
  if (!file) throw bad_request("pixels " + path.string() + ": cannot be read");
}

}  // namespace

std::vector<Span> find_spans(const Integers& token_ids, const Manifest& manifest, const Integers& grids,
                             const std::function<Error(const std::string&)>& refuse) {
  const auto size = static_cast<int64_t>(token_ids.size());
  const auto is_visual = [&](int64_t place) {
    return place < size && token_ids[static_cast<size_t>(place)] == manifest.image_token_id;
  };
  std::vector<Span> spans;
  for (int64_t start = 0; start < size; ++start) {
    if (!is_visual(start)) continue;
    if (spans.size() >= grids.size()) throw refuse("has fewer grids than the prompt has images");
    const auto grid = static_cast<size_t>(grids[spans.size()]);
    const int64_t tokens = manifest.grids[grid].view_tokens();
    for (int64_t nth = start; nth < start + tokens; ++nth) {
      if (!is_visual(nth)) {
        throw refuse("an image takes " + std::to_string(tokens) + " tokens in a row, got " +
                     std::to_string(nth - start));
      }
    }
    spans.push_back({start, start + tokens, grid});
    start += tokens - 1;
  }
  if (spans.size() < grids.size()) throw refuse("has more grids than the prompt has images");
  return spans;
}

Prompt read_prompt(const std::filesystem::path& path, const Manifest& manifest) {
  const Document document(path, Origin::request);
  const Field root = document.root();
  Prompt prompt{root.at("prompt").text(), parse_image_info(root.at("image")), parse_given(root, manifest), {}};
  if (manifest.smaller_image) prompt.pruned = parse_given(root.at("pruned"), manifest);
  return prompt;
}

FollowUp read_follow_up(const std::filesystem::path& path, const Manifest& manifest) {
  const Document document(path, Origin::request);
  const Field root = document.root();
  const auto ids = [&](const std::string& name) { return ids_at(root, name, manifest); };
  FollowUp further{root.at("prompt").text(), ids("pruned"), ids("unpruned"), ids("added"), {}, {}};
  if (const auto pixels = root.find("pixels")) {
    further.images = read_images(root, manifest);
    further.pixels = empty_views(manifest, further.images.grids);
    std::vector<Array*> views;
    for (Array& view : further.pixels) views.push_back(&view);
    read_views(path.parent_path() / plain_name(pixels->at("file")), views);
  }
  return further;
}

void read_pixels(const std::filesystem::path& path, const Manifest& manifest, Prompt& prompt) {
  std::vector<Array*> views;
  for (Given* given : {&prompt.whole, prompt.pruned ? &*prompt.pruned : nullptr}) {
    if (!given) continue;
    Integers grids;
    for (const Span& span : given->spans) grids.push_back(static_cast<int64_t>(span.grid));
    given->pixels = empty_views(manifest, grids);
    for (Array& view : given->pixels) views.push_back(&view);
  }
  read_views(path, views);
}

}  // namespace vlmprune
