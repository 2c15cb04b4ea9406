#include "program.h"

#include <executorch/extension/tensor/tensor.h>
#include <executorch/runtime/backend/interface.h>

#include <algorithm>

#include "method_check.h"
#include "platform.h"
#include "pte_file.h"
#include "signature.h"

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

// One packed copy of weights that several methods share. A runtime without the cache says so, which is no error.
void enable_weight_cache() {
  runtime::BackendOption option{};
  std::copy_n(kWeightCache, std::char_traits<char>::length(kWeightCache), option.key);
  option.value = true;
  if (runtime::set_option(kXnnpack, {&option, 1}) != runtime::Error::Ok) take_logged_error("");
}

template <typename Value>
TensorPtr tensor_of(const Array& array, std::vector<Value> values, ScalarType type) {
  const std::vector<SizesType> sizes(array.shape.begin(), array.shape.end());
  return executorch::extension::make_tensor_ptr(sizes, std::move(values), {}, {}, type);
}

TensorPtr to_tensor(const TensorSpec& spec, const Array& array) {
  if (spec.dtype == Dtype::float32) return tensor_of(array, array.floats(), ScalarType::Float);
  const Integers& values = array.integers();
  if (spec.dtype == Dtype::int64) return tensor_of(array, values, ScalarType::Long);
  return tensor_of(array, std::vector<int32_t>(values.begin(), values.end()), ScalarType::Int);
}

template <typename Value, typename Target>
Target copied(const executorch::aten::Tensor& tensor) {
  const auto* first = tensor.const_data_ptr<Value>();
  return Target(first, first + tensor.numel());
}

Array to_array(const TensorSpec& spec, const executorch::aten::Tensor& tensor) {
  Array array{{tensor.sizes().begin(), tensor.sizes().end()}, {}};
  if (spec.dtype == Dtype::float32) array.values = copied<float, Floats>(tensor);
  if (spec.dtype == Dtype::int64) array.values = copied<int64_t, Integers>(tensor);
  if (spec.dtype == Dtype::int32) array.values = copied<int32_t, Integers>(tensor);
  return array;
}

}  // namespace

Program::Program(const Bundle& bundle) : manifest_(bundle.manifest) {
  for (const auto& [name, stage] : manifest_.stages) check_registered(name, stage);
  enable_weight_cache();
  for (const auto& [name, stage] : manifest_.stages) load(bundle.folder / stage.file);
  for (const char* name : kStages) load_stage(name);
}

Arrays Program::run(const std::string& name, const Arrays& inputs) {
  const Stage& stage = manifest_.stage(name);
  std::vector<TensorPtr> tensors;  // own the memory while the method runs
  std::vector<runtime::EValue> values;
  for (const TensorSpec& spec : stage.inputs) {
    tensors.push_back(to_tensor(spec, inputs.at(spec.name)));
    values.emplace_back(*tensors.back());
  }
  const auto outputs = modules_.at(stage.file)->execute(name, values);
  check(outputs.error(), name, "the method");
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

void Program::load_stage(const std::string& name) {
  const Stage& stage = manifest_.stage(name);
  Module& module = *modules_.at(stage.file);
  const auto names = module.method_names();
  check(names.error(), name, "the methods");
  if (!names->count(name)) throw bundle_error(stage.file, "has no method '" + name + "'", "stages." + name);
  const auto method = module.method_meta(name);
  check(method.error(), name, "the method");
  check_method(manifest_, name, *method);
  check(module.load_method(name), name, "the method cannot be loaded");
}

}  // namespace vlmprune
