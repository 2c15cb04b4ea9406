// Runs the .pte of a bundle, which has a method per stage, after checking it against the manifest.
#pragma once

#include <executorch/extension/module/module.h>

#include <map>
#include <memory>
#include <string>

#include "array.h"
#include "bundle.h"

namespace vlmprune {

// Names the stage to run, and the grid that its inputs belong to.
struct Call {
  std::string stage;
  int64_t grid;
};

class Program {
 public:
  // Loads all stages. Throws a bundle error for a method that the manifest does not describe, an engine error if
  // loading fails.
  explicit Program(const Bundle& bundle);

  // Returns the outputs of the stage by name, copied out of the runtime's memory. Decoder stages keep their KV cache
  // between calls: with `past_tokens` p a call of S tokens writes the rows p to p + S - 1 and attends to all rows
  // before.
  Arrays run(const Call& call, const Arrays& inputs);

 private:
  using Module = executorch::extension::Module;

  void load(const std::filesystem::path& path);
  void load_method(const std::string& stage, const Graph& graph);

  const Manifest& manifest_;
  std::map<std::string, std::unique_ptr<Module>> modules_;  // by file
};

}  // namespace vlmprune
