#include "sha256.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <vector>

namespace vlmprune {
namespace {

constexpr size_t kBlock = 64;

constexpr std::array<uint32_t, 64> kRounds = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

using Digest = std::array<uint32_t, 8>;

uint32_t turned(uint32_t word, int bits) { return (word >> bits) | (word << (32 - bits)); }

uint32_t big_endian(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

std::array<uint32_t, 64> schedule(const uint8_t* block) {
  std::array<uint32_t, 64> words;
  for (size_t nth = 0; nth < 16; ++nth) words[nth] = big_endian(block + 4 * nth);
  for (size_t nth = 16; nth < 64; ++nth) {
    const uint32_t early = words[nth - 15], late = words[nth - 2];
    const uint32_t first = turned(early, 7) ^ turned(early, 18) ^ (early >> 3);
    const uint32_t second = turned(late, 17) ^ turned(late, 19) ^ (late >> 10);
    words[nth] = words[nth - 16] + first + words[nth - 7] + second;
  }
  return words;
}

void absorb(Digest& digest, const uint8_t* block) {
  const auto words = schedule(block);
  auto [a, b, c, d, e, f, g, h] = digest;
  for (size_t nth = 0; nth < 64; ++nth) {
    const uint32_t mixed =
        h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) + kRounds[nth] + words[nth];
    const uint32_t majority = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + mixed, d = c, c = b, b = a, a = mixed + majority;
  }
  const Digest added = {a, b, c, d, e, f, g, h};
  for (size_t nth = 0; nth < digest.size(); ++nth) digest[nth] += added[nth];
}

// The rest of a message shorter than a block: one bit, zeros, and the length in bits.
void absorb_end(Digest& digest, const uint8_t* rest, size_t size, uint64_t total_bytes) {
  std::array<uint8_t, 2 * kBlock> padded{};
  std::memcpy(padded.data(), rest, size);
  padded[size] = 0x80;
  const size_t used = size + 9 <= kBlock ? kBlock : 2 * kBlock;
  for (size_t nth = 0; nth < 8; ++nth) padded[used - 1 - nth] = static_cast<uint8_t>((total_bytes * 8) >> (8 * nth));
  for (size_t start = 0; start < used; start += kBlock) absorb(digest, padded.data() + start);
}

std::string hexadecimal(const Digest& digest) {
  constexpr const char* digits = "0123456789abcdef";
  std::string text;
  for (const uint32_t word : digest) {
    for (int shift = 28; shift >= 0; shift -= 4) text += digits[(word >> shift) & 15];
  }
  return text;
}

}  // namespace

std::string file_sha256(const std::filesystem::path& path) {
  Digest digest = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::ifstream file(path, std::ios::binary);
  if (!file) return "";
  std::vector<uint8_t> buffer(size_t{1} << 20);
  uint64_t total = 0;
  while (true) {
    file.read(reinterpret_cast<char*>(buffer.data()), static_cast<std::streamsize>(buffer.size()));
    const auto size = static_cast<size_t>(file.gcount());
    total += size;
    const size_t whole = size - size % kBlock;
    for (size_t start = 0; start < whole; start += kBlock) absorb(digest, buffer.data() + start);
    if (size == buffer.size()) continue;
    if (!file.eof()) return "";
    absorb_end(digest, buffer.data() + whole, size - whole, total);
    return hexadecimal(digest);
  }
}

}  // namespace vlmprune
