#include "method_check.h"

#include <executorch/runtime/backend/interface.h>
#include <executorch/runtime/kernel/operator_registry.h>

#include <algorithm>
#include <functional>
#include <set>

#include "grid_shapes.h"

namespace vlmprune {
namespace {

namespace runtime = executorch::runtime;
using executorch::aten::ScalarType;

std::set<std::string> registered_operators() {
  std::set<std::string> names;
  for (const auto& kernel : runtime::get_registered_kernels()) names.insert(kernel.name_);
  return names;
}

std::set<std::string> registered_delegates() {
  std::set<std::string> names;
  for (size_t nth = 0; nth < runtime::get_num_registered_backends(); ++nth) {
    if (const auto name = runtime::get_backend_name(nth); name.ok()) names.insert(*name);
  }
  return names;
}

void check_among(const std::string& stage, const char* kind, const std::vector<std::string>& wanted,
                 const std::set<std::string>& registered) {
  std::vector<std::string> absent;
  for (const std::string& name : wanted) {
    if (!registered.count(name)) absent.push_back(name);
  }
  if (!absent.empty())
    throw engine_error(stage, std::string("this runner lacks the ") + kind + " " + comma_list(absent));
}

ScalarType type_of(Dtype dtype) {
  if (dtype == Dtype::float32) return ScalarType::Float;
  return dtype == Dtype::int64 ? ScalarType::Long : ScalarType::Int;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::vector<std::string> sizes;
  for (const int64_t size : shape) sizes.push_back(std::to_string(size));
  std::string text = shorten(comma_list(sizes), 120);
  return text.insert(0, 1, '(') += ')';
}

using Meta = std::function<runtime::Result<runtime::TensorInfo>(size_t)>;

// Returns the sizes of a tensor in a graph, which states only the largest size of a free dimension.
std::vector<int64_t> graph_sizes(const TensorSpec& spec, int64_t context_tokens) {
  std::vector<int64_t> sizes = spec.shape;
  std::replace(sizes.begin(), sizes.end(), kAnyLength, context_tokens);
  sizes.insert(sizes.begin(), spec.graph_ones, 1);
  return sizes;
}

// Holds the inputs or the outputs of a graph, and what the manifest declares of them.
struct Side {
  std::string field;
  const std::vector<TensorSpec>& declared;
  size_t count;
  Meta meta;
};

void check_side(const Graph& graph, const Side& side, int64_t context_tokens) {
  const auto fail = [&](const std::string& reason, const std::string& field) {
    throw bundle_error(graph.file, reason, field);
  };
  if (side.count != side.declared.size()) {
    const std::string said = std::to_string(side.declared.size());
    fail("method has " + std::to_string(side.count) + " tensors, manifest says " + said, side.field);
  }
  for (size_t nth = 0; nth < side.count; ++nth) {
    const TensorSpec& spec = side.declared[nth];
    const std::string field = side.field + "." + shorten(spec.name);
    const auto info = side.meta(nth);
    if (!info.ok()) fail("is not a tensor", field);
    const std::vector<int64_t> sizes(info->sizes().begin(), info->sizes().end());
    const auto wanted = graph_sizes(spec, context_tokens);
    if (info->scalar_type() == type_of(spec.dtype) && sizes == wanted) continue;
    const std::string said = name_of(spec.dtype) + " " + shape_text(wanted);
    fail("method has another dtype or shape " + shape_text(sizes) + ", manifest says " + said, field);
  }
}

}  // namespace

void check_registered(const std::string& name, const Stage& stage) {
  check_among(name, "operators", stage.operators, registered_operators());
  check_among(name, "delegates", stage.delegates, registered_delegates());
}

void check_method(const Manifest& manifest, const std::string& name, const Graph& graph,
                  const runtime::MethodMeta& method) {
  const Stage stage = stage_on_grid(manifest, name, static_cast<size_t>(graph.grid.value_or(0)));
  const std::string field = "stages." + shorten(name);
  const Side inputs{field + ".inputs", stage.inputs, method.num_inputs(),
                    [&](size_t nth) { return method.input_tensor_meta(nth); }};
  const Side outputs{field + ".outputs", stage.outputs, method.num_outputs(),
                     [&](size_t nth) { return method.output_tensor_meta(nth); }};
  check_side(graph, inputs, manifest.context_tokens);
  check_side(graph, outputs, manifest.context_tokens);
}

}  // namespace vlmprune
