// Opening a bundle: the folder and its manifest, or an error that names file and field.
#pragma once

#include <filesystem>
#include <string>

#include "manifest.h"

namespace vlmprune {

// A bundle whose manifest and files were found to agree.
struct Bundle {
  std::filesystem::path folder;
  Manifest manifest;
  std::string manifest_sha256;
  bool verified;  // whether hashes were checked, besides sizes and places
};

Bundle open_bundle(const std::filesystem::path& folder, bool verify);

}  // namespace vlmprune
