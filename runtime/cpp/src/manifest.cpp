#include "manifest.h"

#include <algorithm>

#include "signature.h"

namespace vlmprune {
namespace {

constexpr int64_t kSchemaVersion = 1;
constexpr size_t kSha256Digits = 64;

const std::map<std::string, Dtype> kDtypes = {
    {"float32", Dtype::float32}, {"int64", Dtype::int64}, {"int32", Dtype::int32}};
const std::map<std::string, int64_t> kElementBytes = {{"float32", 4}, {"float16", 2}, {"int8", 1}, {"uint8", 1}};

bool is_plain(const std::string& name) {
  const auto allowed = [](unsigned char one) { return std::isalnum(one) || one == '_' || one == '.' || one == '-'; };
  return !name.empty() && name[0] != '.' && name[0] != '-' && name.find("..") == std::string::npos &&
         std::all_of(name.begin(), name.end(), allowed);
}

std::string plain_name(const Field& field) {
  const std::string name = field.text();
  if (!is_plain(name)) throw field.error(shown(field.raw()) + " is not a plain file name");
  return name;
}

template <typename Value>
Value looked_up(const Field& field, const std::map<std::string, Value>& choices) {
  const auto found = choices.find(field.text());
  if (found != choices.end()) return found->second;
  std::string names;
  for (const auto& choice : choices) names += (names.empty() ? "" : ", ") + choice.first;
  throw field.error("this runner takes " + names + ", got " + shown(field.raw()));
}

TensorSpec parse_tensor(const Field& field) {
  TensorSpec spec{field.at("name").text(), looked_up(field.at("dtype"), kDtypes), {}};
  for (const Field& size : field.at("shape").items()) spec.shape.push_back(size.is_text() ? kAnyLength : size.whole(1));
  return spec;
}

std::vector<TensorSpec> parse_tensors(const Field& field) {
  std::vector<TensorSpec> specs;
  for (const Field& item : field.items()) specs.push_back(parse_tensor(item));
  return specs;
}

Cache parse_cache(const Field& field) {
  return {field.at("layers").whole(0), field.at("kv_heads").whole(1), field.at("head_dim").whole(1),
          looked_up(field.at("dtype"), kElementBytes)};
}

Stage parse_stage(const Field& field) {
  Stage stage{plain_name(field.at("file")),
              parse_tensors(field.at("inputs")),
              parse_tensors(field.at("outputs")),
              std::nullopt,
              {},
              {}};
  if (const auto cache = field.find("cache")) stage.cache = parse_cache(*cache);
  if (const auto lowering = field.find("lowering")) {
    stage.operators = lowering->at("operators").texts();
    stage.delegates = lowering->at("delegates").texts();
  }
  return stage;
}

FileEntry parse_entry(const Field& field) {
  const Field digest = field.at("sha256");
  const std::string digits = digest.text();
  const auto is_digit = [](char one) { return (one >= '0' && one <= '9') || (one >= 'a' && one <= 'f'); };
  if (digits.size() != kSha256Digits || !std::all_of(digits.begin(), digits.end(), is_digit)) {
    throw digest.error("should be 64 hexadecimal digits");
  }
  return {field.at("size_bytes").whole(0), digits};
}

Pruner parse_pruner(const Field& field) {
  Pruner pruner{field.at("method").text(), field.at("layer").whole(0), field.at("visual_tokens").whole(1),
                field.at("keep").whole(1)};
  if (pruner.keep > pruner.visual_tokens) throw field.at("keep").error("is more than visual_tokens");
  return pruner;
}

TextModel parse_text_model(const Field& field) {
  const auto size = [&](const char* name) { return field.at(name).whole(1); };
  return {size("layers"),   size("hidden_size"), size("intermediate_size"), size("attention_heads"),
          size("kv_heads"), size("head_dim"),    size("vocab_size")};
}

std::map<std::string, Stage> parse_stages(const Field& field) {
  std::map<std::string, Stage> stages;
  for (const char* name : kStages) stages.emplace(name, parse_stage(field.at(name)));
  return stages;
}

void check_version(const Document& document) {
  const auto version = document.root().find("schema_version");
  const std::string got = version ? shown(version->raw()) : "nothing";
  if (!version || !version->raw().is_number_integer() || version->raw() != kSchemaVersion) {
    throw document.error("got " + got + ", this runtime reads " + std::to_string(kSchemaVersion), "schema_version");
  }
}

void check_files_listed(const Document& document, const Manifest& manifest) {
  for (const auto& [name, stage] : manifest.stages) {
    if (!manifest.files.count(stage.file)) throw document.error("no size and hash for " + cut(stage.file));
  }
}

}  // namespace

std::string name_of(Dtype dtype) {
  for (const auto& [name, one] : kDtypes) {
    if (one == dtype) return name;
  }
  return "unknown";
}

const TensorSpec& Manifest::input(const std::string& stage_name, const std::string& name) const {
  const auto& inputs = stage(stage_name).inputs;
  return *std::find_if(inputs.begin(), inputs.end(), [&](const TensorSpec& spec) { return spec.name == name; });
}

Manifest parse_manifest(const Document& document) {
  check_version(document);
  const Field root = document.root();
  const Field prompt = root.at("prompt"), source = root.at("source");
  Manifest manifest;
  manifest.name = root.at("name").text();
  manifest.model_type = root.at("model_type").text();
  manifest.target = root.at("target").text();
  if (manifest.target != "executorch") {
    throw bad_request("unknown target for this runner '" + cut(manifest.target) + "'; choose one of: executorch");
  }
  manifest.quantisation = root.at("quantisation").text();
  manifest.source_model = source.at("model").text();
  if (const auto digest = source.find("sha256")) manifest.source_sha256 = digest->text();
  manifest.stages = parse_stages(root.at("stages"));
  manifest.image_token_id = prompt.at("image_token_id").whole(0);
  manifest.generation = parse_generation(root.at("generation"));
  manifest.pruner = parse_pruner(root.at("pruner"));
  manifest.text_model = parse_text_model(root.at("text_model"));
  if (const auto flops = root.find("vision_flops")) manifest.vision_flops = flops->whole(1);
  manifest.context_tokens = root.at("context_tokens").whole(1);
  for (const auto& [name, version] : root.at("versions").entries()) manifest.versions[name] = version.text();
  for (const auto& [name, entry] : root.at("files").entries()) {
    if (!is_plain(name)) throw document.error("'" + cut(name) + "' is not a plain file name", "files");
    manifest.files.emplace(name, parse_entry(entry));
  }
  check_files_listed(document, manifest);
  check_signatures(document, manifest);
  return manifest;
}

}  // namespace vlmprune
