#include "pipeline_check.h"

#include <algorithm>
#include <set>

namespace vlmprune {
namespace {

using Names = std::vector<std::string>;

// The outputs that a runner itself reads, by the role of the stage.
const std::map<Role, Names> kRequiredOutputs = {
    {Role::vision, {"features"}}, {Role::embed, {"embeddings"}}, {Role::prune, {"kept", "fused", "rank"}}};
const std::set<std::string> kIntegerOutputs = {"kept", "rank", "count"};
const std::set<std::string> kIntegerSources = {"token_ids", "positions", "places", "past_tokens", "last_row"};

void check_kind(const Document& document, const std::string& field, const TensorSpec& spec, bool whole) {
  if (whole == (spec.dtype != Dtype::float32)) return;
  const std::string kinds = whole ? "int64 or int32" : "float32";
  throw document.error("got " + name_of(spec.dtype) + ", expected " + kinds, field + "." + spec.name + ".dtype");
}

void check_stage(const Document& document, const std::string& name, const Stage& stage) {
  const std::string field = "stages." + shorten(name);
  if (stage.graphs.empty()) throw document.error("has no graph", field);
  if (const auto read = kRequiredOutputs.find(stage.role); read != kRequiredOutputs.end()) {
    for (const std::string& output : read->second) {
      if (!stage.output(output)) throw document.error("needs the output '" + output + "'", field);
    }
  }
  if ((stage.role == Role::decoder) != stage.cache.has_value()) {
    throw document.error("a decoder has a cache, any other stage has none", field);
  }
  for (const TensorSpec& input : stage.inputs) {
    const auto& known = input.source.is_external() ? kIntegerSources : kIntegerOutputs;
    check_kind(document, field + ".inputs", input, known.count(input.source.tensor) > 0);
  }
  for (const TensorSpec& output : stage.outputs) {
    check_kind(document, field + ".outputs", output, kIntegerOutputs.count(output.name) > 0);
  }
}

void check_order(const Document& document, const Manifest& manifest) {
  Names order = manifest.prefill, named, running;
  std::sort(order.begin(), order.end());
  for (const auto& [name, stage] : manifest.stages) named.push_back(name);
  if (order != named) throw document.error("prefill does not name every stage once");
  for (const auto& [name, role] : {std::pair("vision", Role::vision), {"embed", Role::embed}}) {
    const size_t count = manifest.of_role(role).size();
    if (count != 1)
      throw document.error(std::string("one stage has the role ") + name + "; got " + std::to_string(count));
  }
  for (const std::string& name : manifest.prefill) {
    const Role role = manifest.stage(name).role;
    if (role == Role::embed || role == Role::decoder) running.push_back(name);
  }
  if (manifest.decode != running) throw document.error("decode is not " + comma_list(running));
  const Stage& last = manifest.stage(manifest.prefill.back());
  if (last.role != Role::decoder || !last.output("logits")) {
    throw document.error("the last stage of prefill is no decoder that gives logits");
  }
}

void check_rows_of(const Document& document, const Manifest& manifest, const std::string& name,
                   const std::string& output, int64_t expected) {
  const auto& shape = manifest.stage(name).output(output)->shape;
  if (!shape.empty() && shape[0] == expected) return;
  const std::string got = shape.empty() ? "none" : std::to_string(shape[0]);
  throw document.error("got " + got + " rows, expected " + std::to_string(expected),
                       "stages." + shorten(name) + ".outputs." + output + ".shape");
}

// Checks that the declared outputs have a row for every visual token of the first grid, and for every token kept there.
void check_rows(const Document& document, const Manifest& manifest) {
  const Grid& grid = manifest.grids[0];
  check_rows_of(document, manifest, manifest.of_role(Role::vision)[0], "features", grid.view_tokens());
  for (size_t nth = 0; nth < manifest.cuts.size(); ++nth) {
    for (const char* output : {"kept", "fused", "rank"}) {
      check_rows_of(document, manifest, manifest.cuts[nth].stage, output, grid.keep[nth]);
    }
  }
}

void check_cuts(const Document& document, const Manifest& manifest) {
  Names cuts;
  for (const Cut& one : manifest.cuts) cuts.push_back(one.stage);
  if (cuts != manifest.of_role(Role::prune)) {
    throw document.error("cuts are not the prune stages in the order of prefill");
  }
  if (manifest.grids.empty()) throw document.error("should have one grid or more", "grids");
  for (size_t nth = 0; nth < manifest.grids.size(); ++nth) {
    const std::string name = "grid " + std::to_string(nth);
    int64_t tokens = manifest.grids[nth].visual_tokens();
    if (manifest.grids[nth].keep.size() != cuts.size()) {
      throw document.error(name + " has another number of tokens to keep than there are cuts");
    }
    for (const int64_t keep : manifest.grids[nth].keep) {
      if (keep > tokens) throw document.error("a cut of " + name + " keeps more tokens than there are");
      tokens = keep;
    }
  }
  std::set<std::pair<int64_t, int64_t>> layouts;
  for (const Mosaic& mosaic : manifest.mosaics) {
    if (!layouts.emplace(mosaic.rows, mosaic.columns).second) {
      throw document.error("two mosaics have as many rows and columns");
    }
    if (mosaic.grid >= static_cast<int64_t>(manifest.grids.size())) {
      throw document.error("a mosaic is of tiles on a grid that is not there; there are " +
                           std::to_string(manifest.grids.size()));
    }
  }
  check_rows(document, manifest);
}

// Checks that a stage outputs every source before another reads it, and that every graph serves a grid that exists.
void check_sources(const Document& document, const Manifest& manifest) {
  std::set<std::pair<std::string, std::string>> made;
  for (const std::string& name : manifest.prefill) {
    const Stage& stage = manifest.stage(name);
    for (const TensorSpec& input : stage.inputs) {
      const Source& source = input.source;
      if (!source.is_external() && !made.count({source.stage, source.tensor})) {
        throw document.error(shorten(name) + "." + shorten(input.name) + " comes from " + shorten(source.stage) + "." +
                             shorten(source.tensor) + ", which no stage has made by then");
      }
    }
    for (const TensorSpec& output : stage.outputs) made.emplace(name, output.name);
    for (const Graph& graph : stage.graphs) {
      if (graph.grid && *graph.grid >= static_cast<int64_t>(manifest.shapes())) {
        throw document.error("a graph serves grid " + std::to_string(*graph.grid) + "; there are " +
                             std::to_string(manifest.shapes()));
      }
    }
  }
}

}  // namespace

void check_pipeline(const Document& document, const Manifest& manifest) {
  for (const auto& [name, stage] : manifest.stages) check_stage(document, name, stage);
  check_order(document, manifest);
  check_cuts(document, manifest);
  check_sources(document, manifest);
}

}  // namespace vlmprune
