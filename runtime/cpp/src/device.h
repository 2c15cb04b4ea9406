// Describes this machine, its temperature and load, and the memory of this process; unknown values are null.
#pragma once

#include <cstdint>
#include <optional>

#include "summary.h"

namespace vlmprune {

// Holds the state of the device that may disturb a measurement.
struct DeviceState {
  std::optional<double> celsius;  // the hottest sensor
  std::optional<double> load;     // of the last minute
};

DeviceState read_device_state();

// The `device` part of a record.
Json describe_device(const DeviceState& before, const DeviceState& after);

std::optional<int64_t> resident_bytes();
// Returns the most since the process began or `reset_peak` was last called.
std::optional<int64_t> peak_bytes();
// Resets the peak; if the system refuses, the peak stays that of the whole process.
void reset_peak();

template <typename Value>
Json or_null(const std::optional<Value>& value) {
  return value ? Json(*value) : Json(nullptr);
}

}  // namespace vlmprune
