// Checks a loaded program against the manifest.
#pragma once

#include <executorch/extension/module/module.h>

#include "manifest.h"

namespace vlmprune {

// Throws an engine error that names operators or delegates of the stage which this runner does not register.
void check_registered(const std::string& name, const Stage& stage);

// Throws a bundle error for the first tensor of the method whose dtype or shape is not as declared.
void check_method(const Manifest& manifest, const std::string& name, const Graph& graph,
                  const executorch::runtime::MethodMeta& method);

}  // namespace vlmprune
