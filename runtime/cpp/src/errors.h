// Every error a user can meet, one line each, worded as the Python runtime words them.
#pragma once

#include <stdexcept>
#include <string>

namespace vlmprune {

constexpr int kFailed = 1;
constexpr int kBadRequest = 2;

class Error : public std::runtime_error {
 public:
  Error(const std::string& message, int exit_code) : std::runtime_error(message), exit_code_(exit_code) {}

  // What the process exits with.
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

// A wish that cannot be met.
inline Error bad_request(const std::string& message) { return Error(message, kBadRequest); }

// A bundle that is not what its manifest says; an empty `field` means the whole file.
inline Error bundle_error(const std::string& file, const std::string& reason, const std::string& field = "") {
  return Error("bundle: " + file + (field.empty() ? "" : ": " + field) + ": " + reason, kFailed);
}

// The runtime refused to load or to run a stage.
inline Error engine_error(const std::string& stage, const std::string& cause) {
  return Error("stage '" + stage + "' failed: " + cause, kFailed);
}

}  // namespace vlmprune
