#include "kernels/eigen_cpu.h"
#include "kernels/parallel_cpu.h"
#include "kernels/rotary.h"

namespace wt::kernels::cpu {

void rotary(const Stream&, const Tensor& qkv, std::int64_t heads, const Tensor& cos_sin, const Tensor& first_entry,
            bool inverse) {
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), t = qkv.dim(2), w = qkv.dim(3);
  const std::int64_t k = cos_sin.dim(1);
  const std::int64_t cells = first_entry.defined() ? first_entry.numel() : 0;  // that have an entry of their own
  const std::int32_t* first = first_entry.defined() ? first_entry.data<std::int32_t>() : nullptr;
  for (std::int64_t i = 0; first != nullptr && i < cells; ++i) {
    const std::int64_t last = first[i] + t;
    WT_CHECK(first[i] >= 0 && last <= cos_sin.dim(0), "rotary: position ", first[i] < 0 ? first[i] : last - 1,
             " is beyond the table of ", cos_sin.dim(0));
  }
  dispatch_real(qkv.dtype(), [&]<class T>() {
    parallel_ranges(g * b * t, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t position = row % t + (first != nullptr ? first[row / t % cells] : 0);
        const T* table = cos_sin.data<T>() + position * k;
        const T sign = inverse ? T(-1) : T(1);
        for (std::int64_t h = 0; h < heads; ++h) {
          T* x = qkv.data<T>() + row * w + h * k;
          for (std::int64_t i = 0; i < k / 2; ++i) {
            const T c = table[i], s = sign * table[k / 2 + i];
            const T low = x[i], high = x[i + k / 2];
            x[i] = low * c - high * s;
            x[i + k / 2] = high * c + low * s;
          }
        }
      }
    });
  });
}

}  // namespace wt::kernels::cpu
