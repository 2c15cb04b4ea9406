// Checks that the stages work together, as vlmprune_runtime/schema/pipeline.py does.
#pragma once

#include "manifest.h"

namespace vlmprune {

// Throws a bundle error for the first order, cut, source or dtype with which no prompt could run.
void check_pipeline(const Document& document, const Manifest& manifest);

}  // namespace vlmprune
