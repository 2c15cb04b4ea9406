// Checks a .pte before it is loaded, because a failure later may end the process.
#pragma once

#include <filesystem>

namespace vlmprune {

// Throws a bundle error unless the file has the header of a .pte of this version and the length that it states.
void check_pte_file(const std::filesystem::path& path);

}  // namespace vlmprune
