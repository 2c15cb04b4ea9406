#include "program.h"

#include <executorch/extension/tensor/tensor.h>
#include <executorch/runtime/backend/interface.h>

#include <algorithm>
#include <set>

#include "method_check.h"
#include "platform.h"
#include "pte_file.h"

namespace vlmprune {
namespace {

namespace runtime = executorch::runtime;
using executorch::aten::ScalarType;
using executorch::aten::SizesType;
using executorch::extension::TensorPtr;

constexpr const char* kXnnpack = "XnnpackBackend";
constexpr const char* kWeightCache = "weight_cache_enabled";

void check(runtime::Error code, const std::string& stage, const std::string& what) {
  if (code == runtime::Error::Ok) return;
  const std::string number = "ExecuTorch error " + std::to_string(static_cast<uint32_t>(code));
  throw engine_error(stage, what + ": " + take_logged_error(number));
}

// Lets several methods share one packed copy of weights. A runtime without this cache refuses, which is no error.
void enable_weight_cache() {
  runtime::BackendOption option{};
  std::copy_n(kWeightCache, std::char_traits<char>::length(kWeightCache), option.key);
  option.value = true;
  if (runtime::set_option(kXnnpack, {&option, 1}) != runtime::Error::Ok) take_logged_error("");
}

template <typename Value>
TensorPtr tensor_of(const TensorSpec& spec, const Array& array, std::vector<Value> values, ScalarType type) {
  std::vector<SizesType> sizes(array.shape.begin(), array.shape.end());
  sizes.insert(sizes.begin(), spec.graph_ones, 1);
  return executorch::extension::make_tensor_ptr(sizes, std::move(values), {}, {}, type);
}

TensorPtr to_tensor(const TensorSpec& spec, const Array& array) {
  if (spec.dtype == Dtype::float32) return tensor_of(spec, array, array.floats(), ScalarType::Float);
  const Integers& values = array.integers();
  if (spec.dtype == Dtype::int64) return tensor_of(spec, array, values, ScalarType::Long);
  return tensor_of(spec, array, std::vector<int32_t>(values.begin(), values.end()), ScalarType::Int);
}

template <typename Value, typename Target>
Target copied(const executorch::aten::Tensor& tensor) {
  const auto* first = tensor.const_data_ptr<Value>();
  return Target(first, first + tensor.numel());
}

Array to_array(const TensorSpec& spec, const executorch::aten::Tensor& tensor) {
  const auto ones = static_cast<std::ptrdiff_t>(spec.graph_ones);
  Array array{{tensor.sizes().begin() + ones, tensor.sizes().end()}, {}};
  if (spec.dtype == Dtype::float32) array.values = copied<float, Floats>(tensor);
  if (spec.dtype == Dtype::int64) array.values = copied<int64_t, Integers>(tensor);
  if (spec.dtype == Dtype::int32) array.values = copied<int32_t, Integers>(tensor);
  return array;
}

// Throws an engine error if the inputs of a decoder have different numbers of tokens.
void check_lengths(const std::string& name, const Stage& stage, const Arrays& inputs) {
  std::set<int64_t> lengths;
  if (stage.role != Role::decoder) return;
  for (const TensorSpec& spec : stage.inputs) {
    const auto& shape = inputs.at(spec.name).shape;
    if (shape.size() != spec.shape.size())
      throw engine_error(name, shorten(spec.name) + " has another number of dimensions");
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      if (spec.shape[axis] == kAnyLength) lengths.insert(shape[axis]);
    }
  }
  if (lengths.size() > 1) throw engine_error(name, "its inputs have different numbers of tokens");
}

// Returns the graph that serves the grid.
const Graph& graph_of(const Stage& stage, const Call& call) {
  for (const Graph& graph : stage.graphs) {
    if (!graph.grid || *graph.grid == call.grid) return graph;
  }
  throw engine_error(call.stage, "no graph serves grid " + std::to_string(call.grid));
}

}  // namespace

Program::Program(const Bundle& bundle) : manifest_(bundle.manifest) {
  for (const auto& [name, stage] : manifest_.stages) check_registered(name, stage);
  enable_weight_cache();
  for (const std::string& name : manifest_.prefill) {
    for (const Graph& graph : manifest_.stage(name).graphs) {
      load(bundle.folder / graph.file);
      load_method(name, graph);
    }
  }
}

Arrays Program::run(const Call& call, const Arrays& inputs) {
  const Stage& stage = manifest_.stage(call.stage);
  const Graph& graph = graph_of(stage, call);
  check_lengths(call.stage, stage, inputs);
  std::vector<TensorPtr> tensors;  // own the memory while the method runs
  std::vector<runtime::EValue> values;
  for (const TensorSpec& spec : stage.inputs) {
    tensors.push_back(to_tensor(spec, inputs.at(spec.name)));
    values.emplace_back(*tensors.back());
  }
  const auto outputs = modules_.at(graph.file)->execute(graph.entry, values);
  check(outputs.error(), call.stage, "the method");
  Arrays found;
  for (size_t nth = 0; nth < stage.outputs.size(); ++nth) {
    found.emplace(stage.outputs[nth].name, to_array(stage.outputs[nth], outputs->at(nth).toTensor()));
  }
  return found;
}

void Program::load(const std::filesystem::path& path) {
  const std::string file = path.filename().string();
  if (modules_.count(file)) return;
  check_pte_file(path);
  auto module = std::make_unique<Module>(path.string(), Module::LoadMode::Mmap);
  check(module->load(runtime::Program::Verification::InternalConsistency), "all", file + " cannot be loaded");
  modules_.emplace(file, std::move(module));
}

void Program::load_method(const std::string& stage, const Graph& graph) {
  Module& module = *modules_.at(graph.file);
  const auto names = module.method_names();
  check(names.error(), stage, "the methods");
  if (!names->count(graph.entry)) {
    throw bundle_error(graph.file, "has no method '" + shorten(graph.entry) + "'", "stages." + shorten(stage));
  }
  const auto method = module.method_meta(graph.entry);
  check(method.error(), stage, "the method");
  check_method(manifest_, stage, graph, *method);
  check(module.load_method(graph.entry), stage, "the method cannot be loaded");
}

}  // namespace vlmprune
