// Checks of a .pte before it is loaded: what fails later may end the process.
#pragma once

#include <filesystem>

namespace vlmprune {

// A bundle error unless the file begins as a .pte of this version and is as long as it says.
void check_pte_file(const std::filesystem::path& path);

}  // namespace vlmprune
