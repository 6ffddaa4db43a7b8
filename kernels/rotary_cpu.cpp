#include "kernels/eigen_cpu.h"
#include "kernels/parallel_cpu.h"
#include "kernels/rotary.h"

namespace wt::kernels::cpu {

void rotary(const Stream&, const Tensor& qkv, std::int64_t heads, const Tensor& cos_sin, const Tensor& first_position,
            bool inverse) {
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), t = qkv.dim(2), w = qkv.dim(3);
  const std::int64_t k = cos_sin.dim(1);
  WT_CHECK(k % 2 == 0 && heads * k <= w, "rotary: ", heads, " heads of width ", k, " in rows of ", w);
  if (first_position.defined()) WT_CHECK_SHAPE("rotary", first_position, b);
  const std::int32_t* first = first_position.defined() ? first_position.data<std::int32_t>() : nullptr;
  for (std::int64_t i = 0; i < (first != nullptr ? b : 1); ++i) {
    const std::int64_t last = (first != nullptr ? first[i] : 0) + t;
    WT_CHECK(last <= cos_sin.dim(0), "rotary: position ", last - 1, " is beyond the table of ", cos_sin.dim(0));
  }
  dispatch_real(qkv.dtype(), [&]<class T>() {
    parallel_ranges(g * b * t, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t position = row % t + (first != nullptr ? first[row / t % b] : 0);
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
