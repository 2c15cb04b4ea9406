// Reads the files of `vlmprune-run --dump`: pixels, and a prompt as token ids.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "array.h"
#include "manifest.h"

namespace vlmprune {

// Describes the image that the pixels come from, as a benchmark record does.
struct ImageInfo {
  std::string name;
  std::optional<std::string> sha256;
  int64_t width_px, height_px;
};

// Names the tokens `start` to `stop` - 1 of a prompt, in whose places one view's tokens stand, and the view's grid.
struct Span {
  int64_t start, stop;
  size_t grid;
};

// Counts the tiles of an image; an image that is seen as a single view has none.
struct Tiles {
  int64_t rows, columns;
};

// Names the images of a question: the grid of each of their views in order, and the tiles of each image.
struct Images {
  Integers grids;
  std::vector<Tiles> tiles;
};

// Holds what the model is given: the prompt's tokens, for each view its span and its pixels (1, 3, H, W), and
// the tiles of each image, where they are known.
struct Given {
  Integers token_ids;
  std::vector<Span> spans;
  std::vector<Array> pixels;
  std::vector<Tiles> tiles;
};

// Describes a question. Where the bundle's pruned mode sees a smaller image, `pruned` is what the model is given
// then.
struct Prompt {
  std::string text;
  ImageInfo image;
  Given whole;
  std::optional<Given> pruned;

  const Given& given(bool prune) const { return prune && pruned ? *pruned : whole; }
};

// Holds a further question in the same conversation. `pruned` and `unpruned` are the whole conversation up to where the
// answer begins, as it is in either mode; `added` is what stands between the answer before and the next one.
// `images` are those that come with the question, and `pixels` are their views, each (1, 3, H, W) of its grid.
struct FollowUp {
  std::string text;
  Integers pruned, unpruned, added;
  Images images;
  std::vector<Array> pixels;
};

// Returns the places of the views of images among token ids. Throws an error that `refuse` makes of a reason if the
// image tokens are not those of these views.
std::vector<Span> find_spans(const Integers& token_ids, const Manifest& manifest, const Integers& grids,
                             const std::function<Error(const std::string&)>& refuse);

// Returns the follow-up in a JSON file, and the pixels in the file beside it that it names, if it does. Throws a bad
// request unless its ids belong to this bundle.
FollowUp read_follow_up(const std::filesystem::path& path, const Manifest& manifest);

// Returns the prompt in a JSON file, without pixels. Throws a bad request unless its ids belong to this bundle and fit
// its context.
Prompt read_prompt(const std::filesystem::path& path, const Manifest& manifest);

// Reads a view per span, of the size of its grid, from raw float32, little endian; those of `pruned` stand at the end.
void read_pixels(const std::filesystem::path& path, const Manifest& manifest, Prompt& prompt);

}  // namespace vlmprune
