// The tensors that every stage takes and gives, and the check that a manifest says the same.
#pragma once

#include "manifest.h"

namespace vlmprune {

constexpr const char* kStages[] = {"vision", "embed", "head", "prune", "tail"};

// The first stage whose declared tensors this runner could not feed is a bundle error.
void check_signatures(const Document& document, const Manifest& manifest);

}  // namespace vlmprune
