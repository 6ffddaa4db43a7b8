// Where memory lives and work runs, and the order in which it runs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace wt {

enum class DeviceType : std::uint8_t { kCPU, kCUDA };

struct Device {
  DeviceType type = DeviceType::kCPU;
  int index = 0;
  bool is_cpu() const { return type == DeviceType::kCPU; }
  bool is_cuda() const { return type == DeviceType::kCUDA; }
  bool operator==(const Device&) const = default;
  std::string str() const;
};

// "cpu", "cuda", "cuda:1" or "auto" (CUDA where a usable GPU is, else the CPU). Throws UsageError on another word and
// Error where CUDA was asked for and cannot be had, saying why.
Device device_from_name(std::string_view name);

// A queue of work on one device; every allocation and kernel names the stream it belongs to. CPU work runs at once, in
// the calling thread and its OpenMP team, so a CPU stream has no state. `native` is a cudaStream_t on CUDA.
class Stream {
 public:
  Stream() = default;
  // The device's main stream.
  explicit Stream(Device device);
  Stream(Device device, void* native) : device_(device), native_(native) {}
  Device device() const { return device_; }
  void* native() const { return native_; }
  // Waits until all work given to the stream so far is done.
  void synchronize() const;

 private:
  Device device_;
  void* native_ = nullptr;
};

}  // namespace wt
