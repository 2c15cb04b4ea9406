// The .pte of a bundle, a method per stage, loaded and checked against the manifest.
#pragma once

#include <executorch/extension/module/module.h>

#include <map>
#include <memory>
#include <string>

#include "array.h"
#include "bundle.h"

namespace vlmprune {

// Which stage to run, and the grid that its inputs belong to.
struct Call {
  std::string stage;
  int64_t grid;
};

class Program {
 public:
  // Loads all stages; a bundle error if they are not what the manifest says, else an engine error.
  explicit Program(const Bundle& bundle);

  // Outputs of the stage by name, copied out of the runtime's memory. Decoder stages keep their KV cache between
  // calls: with `past_tokens` p a call of S tokens writes rows p .. p + S - 1 and sees all rows before.
  Arrays run(const Call& call, const Arrays& inputs);

 private:
  using Module = executorch::extension::Module;

  void load(const std::filesystem::path& path);
  void load_method(const std::string& stage, const Graph& graph);

  const Manifest& manifest_;
  std::map<std::string, std::unique_ptr<Module>> modules_;  // by file
};

}  // namespace vlmprune
