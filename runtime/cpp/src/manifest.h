// `bundle.json`: what this runner reads of it. The whole shape is in vlmprune_runtime/schema.py.
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

// One input or output of a stage; a dimension that depends on the prompt is `kAnyLength`.
struct TensorSpec {
  std::string name;
  Dtype dtype;
  std::vector<int64_t> shape;
};

// Per layer a key and a value buffer of `kv_heads * head_dim` numbers a token.
struct Cache {
  int64_t layers, kv_heads, head_dim, element_bytes;
};

struct Stage {
  std::string file;
  std::vector<TensorSpec> inputs, outputs;
  std::optional<Cache> cache;
  std::vector<std::string> operators, delegates;  // what the runtime must register
};

struct Pruner {
  std::string method;
  int64_t layer, visual_tokens, keep;
};

struct TextModel {
  int64_t layers, hidden_size, intermediate_size, attention_heads, kv_heads, head_dim, vocab_size;
};

struct FileEntry {
  int64_t size_bytes;
  std::string sha256;
};

struct Manifest {
  std::string name, model_type, target, quantisation;
  std::string source_model;
  std::optional<std::string> source_sha256;
  std::map<std::string, Stage> stages;
  int64_t image_token_id;
  Generation generation;
  Pruner pruner;
  TextModel text_model;
  std::optional<int64_t> vision_flops;
  int64_t context_tokens;
  std::map<std::string, std::string> versions;
  std::map<std::string, FileEntry> files;

  const Stage& stage(const std::string& name) const { return stages.at(name); }
  const TensorSpec& input(const std::string& stage, const std::string& name) const;
};

// The manifest in a document; its schema version is looked at before anything else.
Manifest parse_manifest(const Document& document);

}  // namespace vlmprune
