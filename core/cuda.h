// The few calls of the CUDA runtime that core needs. cuda_runtime.cpp implements them; cuda_absent.cpp stands in for it
// in a build without CUDA, where no device is ever usable and nothing else can be reached.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/device.h"
#include "core/fault.h"

namespace wt::cuda {

// Empty where device `index` can be used, otherwise why it cannot: no driver, no such device, a build without CUDA.
std::string unusable(int index);

// A queue for the device's work (a cudaStream_t), the same one at every call.
void* main_stream(int index);
// Makes the device the calling thread's, which launches and what libraries make need to be that of their stream.
void use_device(int index);
int device_of(void* stream);
void use_device_of(void* stream);
// Waits; throws Error where a kernel has found a fault since the last wait.
void synchronize(void* stream);
// Where kernels leave a Fault's code: one word of the process, which all devices can write.
std::int32_t* fault_word();

// Stream-ordered memory from the device's default pool; null where the device has no more. While a graph is recorded,
// memory comes from blocks that belong to the graph.
void* allocate(std::size_t bytes, void* stream);
void deallocate(void* pointer, void* stream) noexcept;
// Gives unused memory of the pool back to the device.
void trim_pool(int index);
// Bytes of the pool: in use, the most in use at once since the last reset, and held, in use or not.
struct PoolUse {
  std::uint64_t current = 0;
  std::uint64_t peak = 0;
  std::uint64_t held = 0;
};
PoolUse pool_use(int index);
void reset_pool_peak(int index);

struct DeviceMemory {
  std::uint64_t free = 0;
  std::uint64_t total = 0;
};
DeviceMemory device_memory(int index);
std::string device_name(int index);

// Copies between any two places, not both on the host. Returns once host memory on either side may be changed or read.
void copy(void* to, bool to_host, const void* from, bool from_host, std::size_t bytes, void* stream);
void fill_zero(void* pointer, std::size_t bytes, void* stream);

// See core/graph.h. Null where the device has not enough memory for the recording.
void* record_graph(void* stream, const std::function<void()>& work);
void launch_graph(void* graph, void* stream);
void destroy_graph(void* graph) noexcept;

// See core/time_stamp.h.
std::shared_ptr<void> record_event(void* stream);
double seconds_between(void* begin, void* end);

}  // namespace wt::cuda
