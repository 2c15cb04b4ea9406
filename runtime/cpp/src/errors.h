// Defines every error that a user can meet, one line each, in the words of the Python runtime.
#pragma once

#include <cctype>
#include <stdexcept>
#include <string>
#include <vector>

namespace vlmprune {

constexpr int kFailed = 1;
constexpr int kBadRequest = 2;
constexpr size_t kMaxValueChars = 60, kMaxListChars = 400, kMaxMessageChars = 1000;

// Returns a text, or its two ends if it is longer, without characters that could control a terminal or break the line.
inline std::string shorten(std::string text, size_t most = kMaxValueChars) {
  if (text.size() > most) {
    const size_t end = (most - 3) / 3;
    text = text.substr(0, most - 3 - end) + "..." + text.substr(text.size() - end);
  }
  for (char& letter : text) {
    if (std::iscntrl(static_cast<unsigned char>(letter))) letter = '?';
  }
  return text;
}

// Returns as many names as fit, with commas between them; "none" if there are none.
inline std::string comma_list(const std::vector<std::string>& names) {
  std::string text;
  for (size_t nth = 0; nth < names.size(); ++nth) {
    if (text.size() > kMaxListChars - kMaxValueChars) {
      return text + ", ... (" + std::to_string(names.size() - nth) + " more)";
    }
    text += (text.empty() ? "" : ", ") + shorten(names[nth]);
  }
  return text.empty() ? "none" : text;
}

class Error : public std::runtime_error {
 public:
  Error(const std::string& message, int exit_code)
      : std::runtime_error(shorten(message, kMaxMessageChars)), exit_code_(exit_code) {}

  // The exit code of the process.
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

// A request cannot be met.
inline Error bad_request(const std::string& message) { return Error(message, kBadRequest); }

// A bundle is not as its manifest describes it; an empty `field` means the whole file.
inline Error bundle_error(const std::string& file, const std::string& reason, const std::string& field = "") {
  return Error("bundle: " + shorten(file) + (field.empty() ? "" : ": " + shorten(field, kMaxListChars)) + ": " +
                   shorten(reason, kMaxListChars),
               kFailed);
}

// The runtime refused to load or to run a stage.
inline Error engine_error(const std::string& stage, const std::string& cause) {
  return Error("stage '" + stage + "' failed: " + cause, kFailed);
}

}  // namespace vlmprune
