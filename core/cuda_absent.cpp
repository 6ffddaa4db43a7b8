#include <chrono>

#include "core/cuda.h"
#include "core/error.h"

namespace wt::cuda {
namespace {
[[noreturn]] void refuse() {
  throw Error("this build has no CUDA kernels");
}
}  // namespace

std::string unusable(int) {
  return "this build has no CUDA kernels (build it with ./dev build cuda)";
}
void* main_stream(int) {
  refuse();
}
void synchronize(void*) {}
void* allocate(std::size_t, void*) {
  return nullptr;
}
void deallocate(void*, void*) noexcept {}
void trim_pool(int) {}
std::uint64_t pool_reserved(int) {
  return 0;
}
DeviceMemory device_memory(int) {
  return {};
}
std::string device_name(int) {
  refuse();
}
void copy(void*, const void*, std::size_t, void*) {
  refuse();
}
void fill_zero(void*, std::size_t, void*) {
  refuse();
}

void* record_graph(void*, const std::function<void()>&) {
  refuse();
}
void launch_graph(void*, void*) {
  refuse();
}
void destroy_graph(void*) noexcept {}
TimeStamp time_stamp(const Stream&) {
  return {nullptr, std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count()};
}
double seconds_between(const TimeStamp& begin, const TimeStamp& end) {
  return end.clock - begin.clock;
}

}  // namespace wt::cuda
