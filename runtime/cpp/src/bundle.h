// Opens a bundle, a folder with a manifest; an error names the file and the field that are wrong.
#pragma once

#include <filesystem>
#include <string>

#include "manifest.h"

namespace vlmprune {

// Holds a bundle whose manifest and files agree.
struct Bundle {
  std::filesystem::path folder;
  Manifest manifest;
  std::string manifest_sha256;
  bool verified;  // whether the hashes were checked; sizes and locations always are
};

Bundle open_bundle(const std::filesystem::path& folder, bool verify);

}  // namespace vlmprune
