#include "core/device.h"

#include <charconv>

#include "core/cuda.h"
#include "core/error.h"

namespace wt {

std::string Device::str() const {
  return is_cpu() ? "cpu" : cat("cuda:", index);
}

Device device_from_name(std::string_view name) {
  if (name == "cpu") return Device{};
  Device device{DeviceType::kCUDA, 0};
  if (name == "auto") return cuda::unusable(0).empty() ? device : Device{};
  if (name.substr(0, 5) == "cuda:") {
    const char* end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(name.data() + 5, end, device.index);
    if (error != std::errc{} || rest != end) device.index = -1;
  }
  if ((name != "cuda" && name.substr(0, 5) != "cuda:") || device.index < 0) {
    throw UsageError(cat("unknown device '", name, "': expected cpu, cuda, cuda:N or auto"));
  }
  const std::string reason = cuda::unusable(device.index);
  if (!reason.empty()) throw Error(cat("device ", name, ": ", reason, "; use --device cpu"));
  return device;
}

Stream::Stream(Device device)
    : device_(device), native_(device.is_cuda() ? cuda::main_stream(device.index) : nullptr) {}

void Stream::synchronize() const {
  if (device_.is_cuda()) cuda::synchronize(native_);
}

}  // namespace wt
