// The command line.
#pragma once

#include <cstdint>
#include <filesystem>

namespace vlmprune {

struct Arguments {
  std::filesystem::path bundle, pixels, prompt_ids;
  bool json = false, prune = true, verify = true, help = false;
  int64_t max_tokens = 32, repetitions = 10;
};

// What is asked; a bad request for what makes no sense.
Arguments parse_arguments(int count, char** words);

extern const char* const kHelp;

}  // namespace vlmprune
