// The .pte of a bundle, a method per stage, loaded and checked against the manifest.
#pragma once

#include <executorch/extension/module/module.h>

#include <map>
#include <memory>
#include <string>

#include "array.h"
#include "bundle.h"

namespace vlmprune {

class Program {
 public:
  // Loads all stages; a bundle error if they are not what the manifest says, else an engine error.
  explicit Program(const Bundle& bundle);

  // Outputs of the stage by name, copied out of the runtime's memory. `head` and `tail` keep their KV cache between
  // calls: with `past_tokens` p a call of S tokens writes rows p .. p + S - 1 and sees all rows before.
  Arrays run(const std::string& stage, const Arrays& inputs);

 private:
  using Module = executorch::extension::Module;

  void load(const std::filesystem::path& path);
  void load_stage(const std::string& name);

  const Manifest& manifest_;
  std::map<std::string, std::unique_ptr<Module>> modules_;  // by file
};

}  // namespace vlmprune
