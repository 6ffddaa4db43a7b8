#include "core/device.h"

#include "core/error.h"

namespace wt {

std::string Device::str() const {
  return is_cpu() ? "cpu" : cat("cuda:", index);
}

Device device_from_name(std::string_view name) {
  if (name == "cpu" || name == "auto") return Device{};
  if (name == "cuda") throw Error("device cuda: this build has no CUDA kernels; use --device cpu");
  throw UsageError(cat("unknown device '", name, "': expected cpu, cuda or auto"));
}

void Stream::synchronize() const {}

}  // namespace wt
