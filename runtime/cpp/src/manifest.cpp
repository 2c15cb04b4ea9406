#include "manifest.h"

#include <algorithm>
#include <set>

#include "pipeline_check.h"

namespace vlmprune {
namespace {

constexpr int64_t kMajor = 2;
constexpr size_t kSha256Digits = 64;

const std::map<std::string, Dtype> kDtypes = {
    {"float32", Dtype::float32}, {"int64", Dtype::int64}, {"int32", Dtype::int32}};
const std::map<std::string, int64_t> kElementBytes = {{"float32", 4}, {"float16", 2}, {"int8", 1}, {"uint8", 1}};
const std::map<std::string, Role> kRoles = {
    {"vision", Role::vision}, {"embed", Role::embed}, {"decoder", Role::decoder}, {"prune", Role::prune}};
const std::map<std::string, Part> kParts = {
    {"", Part::all}, {"[visual]", Part::visual}, {"[text]", Part::text}, {"[last]", Part::last}};
const std::map<std::string, bool> kImagePositions = {{"sequence", false}, {"grid", true}};
// The sources that no stage outputs.
const std::set<std::string> kExternalSources = {
    "image.pixels",         "prompt.token_ids",  "sequence.rows",           "sequence.positions",
    "sequence.past_tokens", "sequence.last_row", "sequence.places[visual]", "sequence.places[text]",
    "sequence.places[last]"};

template <typename Value>
Value lookup(const Field& field, const std::map<std::string, Value>& choices) {
  const auto found = choices.find(field.text());
  if (found != choices.end()) return found->second;
  std::string names;
  for (const auto& choice : choices) names += (names.empty() ? "" : ", ") + choice.first;
  throw field.error("this runner takes " + names + ", got " + short_repr(field.raw()));
}

// Throws an error for any value but the one that this runner supports.
void check_only(const Field& parent, const char* name, const nlohmann::json& value) {
  const auto field = parent.find(name);
  if (field && field->raw() != value) {
    throw field->error("this runner takes " + value.dump() + ", got " + short_repr(field->raw()));
  }
}

template <typename Parse>
auto each(const Field& field, const Parse& parse) {
  std::vector<decltype(parse(field))> found;
  for (const Field& item : field.items()) found.push_back(parse(item));
  return found;
}

std::optional<int64_t> optional_integer(const Field& parent, const char* name, int64_t least) {
  const auto field = parent.find(name);
  return field ? std::optional(field->integer(least)) : std::nullopt;
}

Source parse_source(const Field& field) {
  const std::string text = field.text();
  const size_t dot = text.find('.'), bracket = std::min(text.find('['), text.size());
  const auto part = kParts.find(text.substr(bracket));
  if (dot >= bracket || part == kParts.end()) throw field.error("is not a source, got " + short_repr(field.raw()));
  Source source{text.substr(0, dot), text.substr(dot + 1, bracket - dot - 1), part->second};
  if (source.is_external() && !kExternalSources.count(text)) {
    throw field.error("this runner knows no such source, got " + short_repr(field.raw()));
  }
  return source;
}

std::vector<int64_t> parse_shape(const Field& field) {
  return each(field, [](const Field& size) { return size.is_text() ? kAnyLength : size.integer(1); });
}

size_t parse_graph_ones(const Field& field, std::vector<int64_t> shape) {
  const auto in_graph = field.find("graph_shape");
  if (!in_graph) return 0;
  const auto sizes = parse_shape(*in_graph);
  const size_t ones = std::max(sizes.size(), shape.size()) - shape.size();
  shape.insert(shape.begin(), ones, 1);
  if (sizes != shape) throw in_graph->error("is not the shape behind ones");
  return ones;
}

TensorSpec parse_output(const Field& field) {
  const auto shape = parse_shape(field.at("shape"));
  return {field.at("name").text(), lookup(field.at("dtype"), kDtypes), shape, parse_graph_ones(field, shape), {}};
}

TensorSpec parse_input(const Field& field) {
  TensorSpec input = parse_output(field);
  input.source = parse_source(field.at("source"));
  return input;
}

Graph parse_graph(const Field& field) {
  check_only(field, "phase", "any");
  check_only(field, "tokens", nullptr);
  check_only(field, "inputs", nullptr);
  return {plain_name(field.at("file")), field.at("entry").text(), optional_integer(field, "grid", 0)};
}

Cache parse_cache(const Field& field) {
  check_only(field, "owner", "graph");
  return {static_cast<int64_t>(field.at("layers").items().size()), field.at("kv_heads").integer(1),
          field.at("head_dim").integer(1), lookup(field.at("dtype"), kElementBytes)};
}

Stage parse_stage(const Field& field) {
  Stage stage{lookup(field.at("role"), kRoles),
              each(field.at("inputs"), parse_input),
              each(field.at("outputs"), parse_output),
              each(field.at("graphs"), parse_graph),
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

// Two sides of at most this multiply without an overflow.
constexpr int64_t kLongestSide = 1 << 20;

int64_t parse_side(const Field& field) {
  const int64_t side = field.integer(1);
  if (side > kLongestSide) throw field.error("should be " + std::to_string(kLongestSide) + " or less");
  return side;
}

Grid parse_grid(const Field& field) {
  return {parse_side(field.at("height")),
          parse_side(field.at("width")),
          parse_side(field.at("height_px")),
          parse_side(field.at("width_px")),
          field.at("keep").integers(1),
          optional_integer(field, "vision_flops", 1),
          optional_integer(field, "prefix_tokens", 0).value_or(0)};
}

Mosaic parse_mosaic(const Field& field) {
  return {field.at("rows").integer(1), field.at("columns").integer(1), field.at("grid").integer(0)};
}

Cut parse_cut(const Field& field) {
  return {field.at("stage").text(), field.at("at").text(), field.at("layer").integer(0)};
}

Positions parse_positions(const Field& field) {
  const Positions positions{field.at("axes").integer(1), lookup(field.at("image"), kImagePositions)};
  if (positions.axes != (positions.by_grid ? 3 : 1)) {
    throw field.error("positions by grid have three axes, positions in sequence one");
  }
  return positions;
}

FileEntry parse_entry(const Field& field) {
  const Field digest = field.at("sha256");
  const std::string digits = digest.text();
  const auto is_digit = [](char letter) {
    return (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'f');
  };
  if (digits.size() != kSha256Digits || !std::all_of(digits.begin(), digits.end(), is_digit)) {
    throw digest.error("should be 64 hexadecimal digits");
  }
  return {field.at("size_bytes").integer(0), digits};
}

TextModel parse_text_model(const Field& field) {
  const auto size = [&](const char* name) { return field.at(name).integer(1); };
  return {size("layers"),   size("hidden_size"), size("intermediate_size"), size("attention_heads"),
          size("kv_heads"), size("head_dim"),    size("vocab_size")};
}

void parse_pipeline(const Field& root, Manifest& manifest) {
  manifest.smaller_image = root.find("pruned_image").has_value();
  manifest.grids = each(root.at("grids"), parse_grid);
  if (const auto mosaics = root.find("mosaics")) manifest.mosaics = each(*mosaics, parse_mosaic);
  manifest.cuts = each(root.at("cuts"), parse_cut);
  if (const auto positions = root.find("positions")) manifest.positions = parse_positions(*positions);
  for (const auto& [name, stage] : root.at("stages").entries()) manifest.stages.emplace(name, parse_stage(stage));
  manifest.prefill = root.at("prefill").texts();
  manifest.decode = root.at("decode").texts();
}

void parse_names(const Field& root, Manifest& manifest) {
  manifest.name = root.at("name").text();
  manifest.model_type = root.at("model_type").text();
  manifest.target = root.at("target").text();
  if (manifest.target != "executorch") {
    throw bad_request("unknown target for this runner '" + shorten(manifest.target) + "'; choose one of: executorch");
  }
  manifest.quantisation = root.at("quantisation").text();
  manifest.method = root.at("pruner").at("method").text();
  const Field source = root.at("source");
  manifest.source_model = source.at("model").text();
  if (const auto digest = source.find("sha256")) manifest.source_sha256 = digest->text();
  for (const auto& [name, version] : root.at("versions").entries()) manifest.versions[name] = version.text();
}

void parse_files(const Document& document, Manifest& manifest) {
  for (const auto& [name, entry] : document.root().at("files").entries()) {
    if (!is_plain(name)) throw document.error("'" + shorten(name) + "' is not a plain file name", "files");
    manifest.files.emplace(name, parse_entry(entry));
  }
  for (const auto& [name, stage] : manifest.stages) {
    for (const Graph& graph : stage.graphs) {
      if (!manifest.files.count(graph.file)) throw document.error("no size and hash for " + shorten(graph.file));
    }
  }
}

void check_version(const Document& document) {
  const std::string older = "was exported by an older vlmprune: export it again";
  if (document.root().find("schema_version")) throw document.error(older, "schema_version");
  const Field major = document.root().at("schema").at("major");
  if (major.integer(0) < kMajor) throw major.error(older);
  if (major.integer(0) > kMajor) {
    throw major.error("was exported by a newer vlmprune (got version " + short_repr(major.raw()) +
                      ", this runtime reads " + std::to_string(kMajor) + "): update it");
  }
}

}  // namespace

bool Source::is_external() const { return stage == "image" || stage == "prompt" || stage == "sequence"; }

std::string name_of(Dtype dtype) {
  for (const auto& [name, value] : kDtypes) {
    if (value == dtype) return name;
  }
  return "unknown";
}

const TensorSpec* Stage::output(const std::string& name) const {
  const auto named = [&](const TensorSpec& spec) { return spec.name == name; };
  const auto found = std::find_if(outputs.begin(), outputs.end(), named);
  return found == outputs.end() ? nullptr : &*found;
}

int64_t Manifest::mosaic_index(int64_t rows, int64_t columns) const {
  const auto fits = [&](const Mosaic& one) { return one.rows == rows && one.columns == columns; };
  const auto found = std::find_if(mosaics.begin(), mosaics.end(), fits);
  if (found == mosaics.end()) {
    throw bad_request("the bundle has no graph for images of " + std::to_string(rows) + " x " +
                      std::to_string(columns) + " tiles");
  }
  return static_cast<int64_t>(grids.size()) + (found - mosaics.begin());
}

std::vector<int64_t> Manifest::tokens_of(size_t index) const {
  const Mosaic one = index < grids.size() ? Mosaic{1, 1, static_cast<int64_t>(index)} : mosaics[index - grids.size()];
  const Grid& grid = grids[static_cast<size_t>(one.grid)];
  std::vector<int64_t> tokens{one.tiles() * grid.visual_tokens()};
  for (const int64_t keep : grid.keep) tokens.push_back(one.tiles() * keep);
  return tokens;
}

std::vector<std::string> Manifest::of_role(Role role) const {
  std::vector<std::string> names;
  const auto has_role = [&](const std::string& name) { return stage(name).role == role; };
  std::copy_if(prefill.begin(), prefill.end(), std::back_inserter(names), has_role);
  return names;
}

std::vector<std::string> Manifest::stages_of_prompt(bool prune) const {
  const std::string vision = of_role(Role::vision)[0];
  const auto reads_vision = [&](const auto& named) {
    const auto& inputs = named.second.inputs;
    const auto from_vision = [&](const TensorSpec& input) { return input.source.stage == vision; };
    return std::any_of(inputs.begin(), inputs.end(), from_vision);
  };
  const bool cut_at_vision = !cuts.empty() && cuts[0].at == "vision";
  const bool replaced = cut_at_vision && std::none_of(stages.begin(), stages.end(), reads_vision);
  std::vector<std::string> names;
  const auto needed = [&](const std::string& name) {
    return prune ? !(replaced && name == vision) : stage(name).role != Role::prune;
  };
  std::copy_if(prefill.begin(), prefill.end(), std::back_inserter(names), needed);
  return names;
}

Manifest parse_manifest(const Document& document) {
  check_version(document);
  const Field root = document.root();
  Manifest manifest;
  parse_names(root, manifest);
  parse_pipeline(root, manifest);
  manifest.image_token_id = root.at("prompt").at("image_token_id").integer(0);
  manifest.generation = parse_generation(root.at("generation"));
  manifest.text_model = parse_text_model(root.at("text_model"));
  manifest.context_tokens = root.at("context_tokens").integer(1);
  parse_files(document, manifest);
  check_pipeline(document, manifest);
  return manifest;
}

}  // namespace vlmprune
