#include "signature.h"

#include <algorithm>

namespace vlmprune {
namespace {

// Letters as in vlmprune_runtime: sizes that the manifest says, S any length, others any size.
using Letters = std::vector<std::string>;
using Side = std::vector<std::pair<std::string, Letters>>;

struct Signature {
  Side inputs, outputs;
};

const std::map<std::string, Signature> kSignatures = {
    {"vision", {{{"pixels", {"1", "3", "H", "W"}}}, {{"visual", {"N", "D"}}}}},
    {"embed", {{{"token_ids", {"S"}}}, {{"embeddings", {"S", "D"}}}}},
    {"head",
     {{{"embeddings", {"S", "D"}}, {"positions", {"S"}}, {"past_tokens", {"1"}}},
      {{"hidden", {"S", "D"}}, {"keys", {"S", "Dk"}}}}},
    {"prune",
     {{{"hidden", {"N", "D"}}, {"keys", {"N", "Dk"}}}, {{"kept", {"K"}}, {"fused", {"K", "D"}}, {"order", {"K"}}}}},
    {"tail", {{{"hidden", {"S", "D"}}, {"positions", {"S"}}, {"past_tokens", {"1"}}}, {{"logits", {"V"}}}}},
};
const std::vector<std::string> kIntegers = {"token_ids", "positions", "past_tokens", "kept", "order"};

std::map<std::string, int64_t> known_sizes(const Manifest& manifest) {
  return {{"1", 1},
          {"3", 3},
          {"S", kAnyLength},
          {"N", manifest.pruner.visual_tokens},
          {"K", manifest.pruner.keep},
          {"D", manifest.text_model.hidden_size},
          {"V", manifest.text_model.vocab_size}};
}

bool fits(const Letters& wanted, const TensorSpec& spec, const std::map<std::string, int64_t>& sizes) {
  if (wanted.size() != spec.shape.size()) return false;
  for (size_t nth = 0; nth < wanted.size(); ++nth) {
    const auto known = sizes.find(wanted[nth]);
    const bool right = known == sizes.end() ? spec.shape[nth] != kAnyLength : spec.shape[nth] == known->second;
    if (!right) return false;
  }
  return true;
}

void check_side(const Document& document, const std::string& field, const Side& wanted,
                const std::vector<TensorSpec>& declared, const std::map<std::string, int64_t>& sizes) {
  if (declared.size() != wanted.size()) {
    const std::string counts = std::to_string(declared.size()) + ", expected " + std::to_string(wanted.size());
    throw document.error("got tensors: " + counts, field);
  }
  for (const auto& [name, letters] : wanted) {
    const auto found = std::find_if(declared.begin(), declared.end(), [&, &wanted_name = name](const TensorSpec& spec) {
      return spec.name == wanted_name;
    });
    if (found == declared.end()) throw document.error("has no tensor " + name, field);
    const bool integer = std::find(kIntegers.begin(), kIntegers.end(), name) != kIntegers.end();
    if (integer == (found->dtype == Dtype::float32)) {
      throw document.error(std::string("expected ") + (integer ? "int64 or int32" : "float32"),
                           field + "." + name + ".dtype");
    }
    if (!fits(letters, *found, sizes)) throw document.error("is not as expected", field + "." + name + ".shape");
  }
}

}  // namespace

void check_signatures(const Document& document, const Manifest& manifest) {
  const auto sizes = known_sizes(manifest);
  for (const char* name : kStages) {
    const Signature& signature = kSignatures.at(name);
    const std::string field = std::string("stages.") + name;
    check_side(document, field + ".inputs", signature.inputs, manifest.stage(name).inputs, sizes);
    check_side(document, field + ".outputs", signature.outputs, manifest.stage(name).outputs, sizes);
  }
}

}  // namespace vlmprune
