// What decays for long ends in subnormal numbers, with which every operation takes a hundred times as long.
#pragma once

#include <cstdint>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace wt::kernels::cpu {

// While one lives, its thread takes subnormal numbers as zero, those it reads and those it would write. Elsewhere than
// on x86 and 64-bit Arm it does nothing.
class SubnormalsAreZero {
 public:
  SubnormalsAreZero() : before_(control()) { set_control(before_ | kZero); }
  ~SubnormalsAreZero() { set_control(before_); }
  SubnormalsAreZero(const SubnormalsAreZero&) = delete;
  SubnormalsAreZero& operator=(const SubnormalsAreZero&) = delete;

 private:
#if defined(__SSE__)
  static constexpr std::uint64_t kZero = 0x8040;  // MXCSR: FTZ and DAZ
  static std::uint64_t control() {
    return _mm_getcsr();
  }
  static void set_control(std::uint64_t bits) {
    _mm_setcsr(static_cast<unsigned>(bits));
  }
#elif defined(__aarch64__)
  static constexpr std::uint64_t kZero = std::uint64_t{1} << 24;  // FPCR: FZ
  static std::uint64_t control() {
    std::uint64_t bits = 0;
    asm volatile("mrs %0, fpcr" : "=r"(bits));
    return bits;
  }
  static void set_control(std::uint64_t bits) {
    asm volatile("msr fpcr, %0" : : "r"(bits));
  }
#else
  static constexpr std::uint64_t kZero = 0;
  static std::uint64_t control() {
    return 0;
  }
  static void set_control(std::uint64_t) {}
#endif

  std::uint64_t before_;
};

}  // namespace wt::kernels::cpu
