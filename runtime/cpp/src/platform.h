// Turns ExecuTorch's log and abort into one-line errors.
#pragma once

#include <string>

namespace vlmprune {

constexpr const char* kName = "vlmprune-runner";

// Keeps the errors that the runtime logs instead of printing them, and turns its abort into exit code 1.
void install_platform();

// Returns the first error logged since the last call, or `otherwise`.
std::string take_logged_error(const std::string& otherwise);

// Prints one line on stderr, as all commands do.
void print_error(const std::string& message);

}  // namespace vlmprune
