// Time by kernel: while a Profile is open, every call of a kernel's public function is timed (on CUDA by events in the
// stream, which keep the device's own order of work and cost about a microsecond of the host's).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/device.h"

namespace wt::kernels {

// What a kernel's time counts as in a summary; named where the kernel is dispatched.
enum class KernelClass : std::uint8_t { kGemm, kAttention, kMemory, kScan, kHead, kOptimizer, kElementwise };
// "GEMM", "attention", "memory read/write", "scan", "head", "optimizer", "norm and elementwise".
const char* name_of(KernelClass kernel_class);

struct KernelTime {
  std::string name;  // the public function: "linear_forward"
  KernelClass kernel_class = KernelClass::kElementwise;
  std::int64_t calls = 0;
  double seconds = 0;
};

// One at a time, in one thread.
class Profile {
 public:
  explicit Profile(const Stream& stream);
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;
  static bool is_open();
  // Waits for the stream; times since the start, most expensive first.
  std::vector<KernelTime> times();
};

namespace detail {
// Around one call; does nothing while no Profile is open.
class ProfileScope {
 public:
  ProfileScope(const char* name, KernelClass kernel_class, const Stream& stream);
  ~ProfileScope();
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  bool open_;
  std::size_t call_ = 0;  // a kernel may call another through its public name
  Stream stream_;
};
}  // namespace detail

}  // namespace wt::kernels
