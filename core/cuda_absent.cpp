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
void use_device(int) {}
int device_of(void*) {
  return 0;
}
void use_device_of(void*) {}
void synchronize(void*) {}
std::int32_t* fault_word() {
  refuse();
}
void* allocate(std::size_t, void*) {
  return nullptr;
}
void deallocate(void*, void*) noexcept {}
void trim_pool(int) {}
PoolUse pool_use(int) {
  return {};
}
void reset_pool_peak(int) {}
DeviceMemory device_memory(int) {
  return {};
}
std::string device_name(int) {
  refuse();
}
void copy(void*, bool, const void*, bool, std::size_t, void*) {
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
std::shared_ptr<void> record_event(void*) {
  refuse();
}
double seconds_between(void*, void*) {
  refuse();
}

}  // namespace wt::cuda
