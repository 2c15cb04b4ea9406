#include "pte_file.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>

#include "errors.h"

namespace vlmprune {
namespace {

constexpr char kIdentifier[] = "ET12";  // of the flatbuffer schema that executorch 1.x reads
constexpr char kMagic[] = "eh00";
// Root offset, identifier, magic and header length of 4 bytes each; program size, segment base, segments size of 8.
constexpr size_t kHeadBytes = 40;

uint64_t little_endian(const unsigned char* bytes) {
  uint64_t number = 0;
  for (int nth = 7; nth >= 0; --nth) number = number << 8 | bytes[nth];
  return number;
}

}  // namespace

void check_pte_file(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  unsigned char head[kHeadBytes] = {};
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(head), kHeadBytes);
  if (file.gcount() < static_cast<std::streamsize>(kHeadBytes)) {
    throw bundle_error(name, "is truncated: " + std::to_string(file.gcount()) + " bytes are no .pte");
  }
  if (std::memcmp(head + 4, kIdentifier, 4) != 0) {
    throw bundle_error(name, std::string("is not a .pte of this version: expected '") + kIdentifier + "'");
  }
  if (std::memcmp(head + 8, kMagic, 4) != 0) throw bundle_error(name, "has no extended header");
  const uint64_t expected = std::max(little_endian(head + 16), little_endian(head + 24) + little_endian(head + 32));
  const uint64_t size = std::filesystem::file_size(path);
  if (size < expected) {
    throw bundle_error(name,
                       "is truncated: got " + std::to_string(size) + " bytes, expected " + std::to_string(expected));
  }
}

}  // namespace vlmprune
