#include "method_check.h"

#include <executorch/runtime/backend/interface.h>
#include <executorch/runtime/kernel/operator_registry.h>

#include <algorithm>
#include <functional>
#include <set>

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
  if (!absent.empty()) throw engine_error(stage, std::string("this runner lacks the ") + kind + " " + listed(absent));
}

ScalarType type_of(Dtype dtype) {
  if (dtype == Dtype::float32) return ScalarType::Float;
  return dtype == Dtype::int64 ? ScalarType::Long : ScalarType::Int;
}

std::string shown(const std::vector<int64_t>& shape) {
  std::vector<std::string> sizes;
  for (const int64_t size : shape) sizes.push_back(std::to_string(size));
  std::string text = cut(listed(sizes), 120);
  return text.insert(0, 1, '(') += ')';
}

using Meta = std::function<runtime::Result<runtime::TensorInfo>(size_t)>;

void check_side(const Stage& stage, const std::string& field, const std::vector<TensorSpec>& declared, size_t count,
                int64_t context_tokens, const Meta& meta) {
  if (count != declared.size()) {
    const std::string counts = std::to_string(count) + " tensors, manifest says " + std::to_string(declared.size());
    throw bundle_error(stage.file, "method has " + counts, field);
  }
  for (size_t nth = 0; nth < count; ++nth) {
    const TensorSpec& spec = declared[nth];
    const auto info = meta(nth);
    if (!info.ok()) throw bundle_error(stage.file, "is not a tensor", field + "." + spec.name);
    std::vector<int64_t> sizes(info->sizes().begin(), info->sizes().end()), wanted = spec.shape;
    // The method knows the largest size of a free dimension only.
    std::replace(wanted.begin(), wanted.end(), kAnyLength, context_tokens);
    if (info->scalar_type() != type_of(spec.dtype) || sizes != wanted) {
      const std::string said = name_of(spec.dtype) + " " + shown(wanted);
      throw bundle_error(stage.file, "method has another dtype or shape " + shown(sizes) + ", manifest says " + said,
                         field + "." + spec.name);
    }
  }
}

}  // namespace

void check_registered(const std::string& name, const Stage& stage) {
  check_among(name, "operators", stage.operators, registered_operators());
  check_among(name, "delegates", stage.delegates, registered_delegates());
}

void check_method(const Manifest& manifest, const std::string& name, const runtime::MethodMeta& method) {
  const Stage& stage = manifest.stage(name);
  const std::string field = "stages." + name;
  check_side(stage, field + ".inputs", stage.inputs, method.num_inputs(), manifest.context_tokens,
             [&](size_t nth) { return method.input_tensor_meta(nth); });
  check_side(stage, field + ".outputs", stage.outputs, method.num_outputs(), manifest.context_tokens,
             [&](size_t nth) { return method.output_tensor_meta(nth); });
}

}  // namespace vlmprune
