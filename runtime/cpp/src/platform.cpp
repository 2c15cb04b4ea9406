#include "platform.h"

#include <executorch/runtime/platform/platform.h>
#include <executorch/runtime/platform/runtime.h>

#include <cstdlib>
#include <iostream>
#include <mutex>
#include <sstream>

#include "errors.h"

namespace vlmprune {
namespace {

std::mutex guard;
std::string logged;

void keep_log(et_timestamp_t, et_pal_log_level_t level, const char*, const char*, size_t, const char* message,
              size_t length) {
  if (level != et_pal_log_level_t::kError && level != et_pal_log_level_t::kFatal) return;
  const std::lock_guard<std::mutex> lock(guard);
  if (logged.empty()) logged.assign(message, length);
}

void exit_instead_of_abort() {
  print_error("the ExecuTorch runtime gave up: " + take_logged_error("it gave no reason"));
  std::_Exit(kFailed);
}

}  // namespace

void install_platform() {
  executorch::runtime::runtime_init();
  auto implementation = executorch::runtime::PalImpl::create(keep_log, __FILE__);
  implementation.abort = exit_instead_of_abort;
  executorch::runtime::register_pal(implementation);
}

std::string take_logged_error(const std::string& otherwise) {
  const std::lock_guard<std::mutex> lock(guard);
  std::string taken = logged.empty() ? otherwise : logged;
  logged.clear();
  return taken;
}

void print_error(const std::string& message) {
  std::istringstream words(message);
  std::string line, word;
  while (words >> word) line += " " + word;
  std::cerr << kName << ": error:" << line << std::endl;
}

}  // namespace vlmprune
