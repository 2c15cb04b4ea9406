// ExecuTorch's log and abort, made into one-line errors.
#pragma once

#include <string>

namespace vlmprune {

constexpr const char* kName = "vlmprune-runner";

// Keeps errors that the runtime logs instead of printing them, and turns its abort into exit code 1.
void install_platform();

// The first error logged since the last call, or `otherwise`.
std::string take_logged_error(const std::string& otherwise);

// One line on stderr, as all commands print it.
void print_error(const std::string& message);

}  // namespace vlmprune
