// What a loaded program says of itself, held against the manifest.
#pragma once

#include <executorch/extension/module/module.h>

#include "manifest.h"

namespace vlmprune {

// An engine error that names operators or delegates of the stage which this runner does not register.
void check_registered(const std::string& name, const Stage& stage);

// A bundle error for the first tensor of the method whose dtype or shape is not as declared.
void check_method(const Manifest& manifest, const std::string& name, const Graph& graph,
                  const executorch::runtime::MethodMeta& method);

}  // namespace vlmprune
