// Every error a user can meet, one line each, worded as the Python runtime words them.
#pragma once

#include <cctype>
#include <stdexcept>
#include <string>
#include <vector>

namespace vlmprune {

constexpr int kFailed = 1;
constexpr int kBadRequest = 2;
constexpr size_t kMaxValueChars = 60, kMaxListChars = 400, kMaxMessageChars = 1000;

// A text that a message shows: its two ends if it is longer, and nothing that steers a terminal or breaks the line.
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

// Names with commas between them, no more of them than fit; "none" if there are none.
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

  // What the process exits with.
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

// A wish that cannot be met.
inline Error bad_request(const std::string& message) { return Error(message, kBadRequest); }

// A bundle that is not what its manifest says; an empty `field` means the whole file.
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
