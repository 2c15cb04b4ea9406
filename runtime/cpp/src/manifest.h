// Reads version 2 of `bundle.json`: the fields that this runner needs, under their names there.
// vlmprune_runtime/schema/ explains each field. Other fields are ignored, as are those of a newer minor version.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "document.h"
#include "generation.h"

namespace vlmprune {

constexpr int64_t kAnyLength = 0;

enum class Dtype { float32, int64, int32 };

std::string name_of(Dtype dtype);

enum class Role { vision, embed, decoder, prune };

// Says which rows of a tensor a source selects: all, those of the view that is pruned, those of text, or the last.
enum class Part { all, visual, text, last };

// Says where an input comes from.
struct Source {
  std::string stage, tensor;
  Part part;

  // Says whether no stage outputs it: `stage` is `image`, `prompt` or `sequence`.
  bool is_external() const;
};

// Describes one input or output of a stage; a dimension that depends on the prompt is `kAnyLength`. Outputs have no
// source. The graph has `graph_ones` more leading dimensions of 1.
struct TensorSpec {
  std::string name;
  Dtype dtype;
  std::vector<int64_t> shape;
  size_t graph_ones;
  Source source;
};

struct Graph {
  std::string file, entry;
  std::optional<int64_t> grid;  // the only grid that the graph serves
};

// Describes the keys and values of a token, `kv_heads * head_dim` numbers each, in so many layers; the graph holds
// them.
struct Cache {
  int64_t layers, kv_heads, head_dim, element_bytes;
};

struct Stage {
  Role role;
  std::vector<TensorSpec> inputs, outputs;
  std::vector<Graph> graphs;
  std::optional<Cache> cache;
  std::vector<std::string> operators, delegates;  // which the runtime must register

  // Returns null if the stage has no such output.
  const TensorSpec* output(const std::string& name) const;
};

struct Grid {
  int64_t height, width, height_px, width_px;
  std::vector<int64_t> keep;  // one number per cut
  std::optional<int64_t> vision_flops;
  int64_t prefix_tokens = 0;  // rows of features before the grid's, which are never pruned

  int64_t view_tokens() const { return prefix_tokens + visual_tokens(); }
  int64_t visual_tokens() const { return height * width; }
  int64_t kept_tokens() const { return keep.empty() ? visual_tokens() : keep.back(); }
};

// Names tiles of an image that are pruned together, each on the grid `grid`.
struct Mosaic {
  int64_t rows, columns, grid;

  int64_t tiles() const { return rows * columns; }
};

struct Cut {
  std::string stage, at;  // `at` is `vision`, `input` or `layer`
  int64_t layer;
};

// `by_grid`: time, row and column of a visual token's place; otherwise visual tokens count on as text does.
struct Positions {
  int64_t axes = 1;
  bool by_grid = false;
};

struct TextModel {
  int64_t layers, hidden_size, intermediate_size, attention_heads, kv_heads, head_dim, vocab_size;
};

struct FileEntry {
  int64_t size_bytes;
  std::string sha256;
};

struct Manifest {
  std::string name, model_type, target, quantisation, method;
  std::string source_model;
  std::optional<std::string> source_sha256;
  bool smaller_image = false;  // whether the pruned mode sees one
  std::vector<Grid> grids;
  std::vector<Mosaic> mosaics;  // their indices count on behind those of the grids
  std::vector<Cut> cuts;
  Positions positions;
  std::map<std::string, Stage> stages;
  std::vector<std::string> prefill, decode;  // stages in the order in which a prompt and a new token run through them
  int64_t image_token_id;
  Generation generation;
  TextModel text_model;
  int64_t context_tokens;
  std::map<std::string, std::string> versions;
  std::map<std::string, FileEntry> files;

  const Stage& stage(const std::string& name) const { return stages.at(name); }
  // Returns the number of grids and mosaics, of which a graph may serve a single one.
  size_t shapes() const { return grids.size() + mosaics.size(); }
  // Returns the index of the mosaic of so many tiles. Throws a bad request if there is none.
  int64_t mosaic_index(int64_t rows, int64_t columns) const;
  // Returns the visual tokens of a view, or of a mosaic, before the first cut and behind each, by its index.
  std::vector<int64_t> tokens_of(size_t index) const;
  // Returns the stages of a role in the order of `prefill`.
  std::vector<std::string> of_role(Role role) const;
  // Returns the stages that a prompt needs, in that order. Unpruned it needs no prune stage. Pruned it needs no vision
  // stage if the first cut stands right behind it and no stage reads what it gives.
  std::vector<std::string> stages_of_prompt(bool prune) const;
};

// Returns the manifest in a document; its version is checked before anything else.
Manifest parse_manifest(const Document& document);

}  // namespace vlmprune
