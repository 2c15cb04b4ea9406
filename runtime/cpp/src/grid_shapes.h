// The shapes that a stage's tensors have on each grid; the same as vlmprune_runtime/engines/grid_shapes.py.
#pragma once

#include "manifest.h"

namespace vlmprune {

// Returns a stage with the shapes of a graph for the grid of that index; the manifest declares those of the first grid.
Stage stage_on_grid(const Manifest& manifest, const std::string& name, size_t index);

}  // namespace vlmprune
