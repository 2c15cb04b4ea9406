// Computes the SHA-256 of a file (FIPS 180-4).
#pragma once

#include <filesystem>
#include <string>

namespace vlmprune {

// Returns 64 hexadecimal digits, an empty text if the file cannot be read.
std::string file_sha256(const std::filesystem::path& path);

}  // namespace vlmprune
