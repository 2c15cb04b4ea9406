#include "bundle.h"

#include <algorithm>

#include "sha256.h"

namespace vlmprune {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "bundle.json";

// Says whether the folder is a snapshot in a model hub's cache and the file lies in that cache's blob store.
bool in_blob_store(const fs::path& home, const fs::path& real) {
  return home.parent_path().filename() == "snapshots" &&
         real.parent_path() == home.parent_path().parent_path() / "blobs";
}

// Follows links, but not out of the folder, except to the blob store of a hub's cache.
void check_location(const fs::path& folder, const std::string& name) {
  std::error_code failure;
  const fs::path real = fs::canonical(folder / name, failure);
  if (failure) throw bundle_error(name, "is missing");
  const fs::path home = fs::canonical(folder, failure);
  const bool inside = std::mismatch(home.begin(), home.end(), real.begin(), real.end()).first == home.end();
  if (!inside && !in_blob_store(home, real)) {
    throw bundle_error(name, "leads outside the bundle folder; copy the folder with what its links lead to: cp -rL");
  }
  if (!fs::is_regular_file(real, failure)) throw bundle_error(name, "is not a file");
}

void check_file(const fs::path& folder, const std::string& name, const FileEntry& entry, bool verify) {
  check_location(folder, name);
  std::error_code failure;
  const auto size = static_cast<int64_t>(fs::file_size(folder / name, failure));
  if (failure) throw bundle_error(name, "cannot be read: " + failure.message());
  if (size != entry.size_bytes) {
    const std::string sizes = "got " + std::to_string(size) + " bytes, expected " + std::to_string(entry.size_bytes);
    throw bundle_error(name, (size < entry.size_bytes ? "is truncated: " : "is too long: ") + sizes, "size_bytes");
  }
  if (verify && file_sha256(folder / name) != entry.sha256) {
    throw bundle_error(name, "is not the file that was exported: other sha256", "sha256");
  }
}

}  // namespace

Bundle open_bundle(const fs::path& folder, bool verify) {
  std::error_code failure;
  if (!fs::is_directory(folder, failure)) throw bundle_error(folder.string(), "no such folder");
  const Document document(folder / kManifest, Origin::bundle);
  Bundle bundle{folder, parse_manifest(document), file_sha256(folder / kManifest), verify};
  for (const auto& [name, entry] : bundle.manifest.files) check_file(folder, name, entry, verify);
  return bundle;
}

}  // namespace vlmprune
