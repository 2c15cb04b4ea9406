// Parses the command line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace vlmprune {

struct Arguments {
  std::filesystem::path bundle, pixels, prompt_ids;
  std::vector<std::filesystem::path> follow_ups;
  bool json = false, kept = false, prune = true, greedy = false, verify = true, help = false;
  std::optional<int64_t> max_tokens;
  int64_t repetitions = 10;
};

// Returns the arguments. Throws a bad request for arguments that contradict each other.
Arguments parse_arguments(int count, char** words);

extern const char* const kHelp;

}  // namespace vlmprune
