// The checks of how stages work together, as vlmprune_runtime/schema/pipeline.py makes them.
#pragma once

#include "manifest.h"

namespace vlmprune {

// A bundle error for the first thing that a prompt could not get past: an order, a cut, a source, a tensor's kind.
void check_pipeline(const Document& document, const Manifest& manifest);

}  // namespace vlmprune
