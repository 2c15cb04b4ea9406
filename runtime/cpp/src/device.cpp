#include "device.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <thread>

#ifdef __ANDROID__
#include <sys/system_properties.h>
#endif

namespace vlmprune {
namespace {

constexpr const char* kThermalZones = "/sys/class/thermal";

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Returns the first group of the pattern's first match in the file, which is searched line by line.
std::optional<std::string> first_match(const std::filesystem::path& path, const std::string& pattern) {
  std::istringstream lines(content(path));
  const std::regex expression(pattern);
  std::smatch match;
  for (std::string line; std::getline(lines, line);) {
    if (std::regex_search(line, match, expression)) return match[1].str();
  }
  return std::nullopt;
}

std::optional<int64_t> status_bytes(const std::string& field) {
  const auto kilobytes = first_match("/proc/self/status", "^" + field + ":\\s*(\\d+) kB$");
  if (!kilobytes) return std::nullopt;
  return std::stoll(*kilobytes) * 1024;
}

std::optional<double> hottest_celsius() {
  std::optional<double> hottest;
  std::error_code failure;
  for (const auto& zone : std::filesystem::directory_iterator(kThermalZones, failure)) {
    const auto thousandths = first_match(zone.path() / "temp", "^(-?\\d{1,9})\\s*$");
    if (!thousandths) continue;
    const double celsius = std::stod(*thousandths) / 1000;
    hottest = std::max(hottest.value_or(celsius), celsius);
  }
  return hottest;
}

std::string kernel() {
  utsname names{};
  return uname(&names) == 0 ? std::string(names.sysname) + " " + names.release : "unknown";
}

#ifdef __ANDROID__
std::string property(const char* name) {
  char value[PROP_VALUE_MAX] = {};
  __system_property_get(name, value);
  return value;
}

const char* kind() { return "android"; }
std::string name(const std::optional<std::string>&) {
  return property("ro.product.manufacturer") + " " + property("ro.product.model");
}
std::string system_name() { return "Android " + property("ro.build.version.release") + ", " + kernel(); }
#else
const char* kind() { return "desktop"; }
std::string name(const std::optional<std::string>& cpu) {
  utsname names{};
  return cpu.value_or(uname(&names) == 0 ? names.machine : "unknown");
}
std::string system_name() {
  const auto release = first_match("/etc/os-release", "^PRETTY_NAME=\"?([^\"]+)\"?$");
  return release ? *release + ", " + kernel() : kernel();
}
#endif

Json thermal(const DeviceState& before, const DeviceState& after) {
  if (!before.celsius && !after.celsius) return nullptr;
  return {{"before_celsius", or_null(before.celsius)}, {"after_celsius", or_null(after.celsius)}};
}

}  // namespace

DeviceState read_device_state() {
  const auto load = first_match("/proc/loadavg", "^([0-9.]+) ");
  return {hottest_celsius(), load ? std::optional<double>(std::stod(*load)) : std::nullopt};
}

Json describe_device(const DeviceState& before, const DeviceState& after) {
  const auto cpu = first_match("/proc/cpuinfo", "^(?:model name|Model|Hardware)\\s*: (.+)$");
  return {{"kind", kind()},
          {"name", name(cpu)},
          {"os", system_name()},
          {"cpu", or_null(cpu)},
          {"cores", std::thread::hardware_concurrency()},
          {"memory_bytes", int64_t{sysconf(_SC_PAGESIZE)} * sysconf(_SC_PHYS_PAGES)},
          {"load_before", or_null(before.load)},
          {"thermal", thermal(before, after)}};
}

std::optional<int64_t> resident_bytes() { return status_bytes("VmRSS"); }

std::optional<int64_t> peak_bytes() { return status_bytes("VmHWM"); }

void reset_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

}  // namespace vlmprune
