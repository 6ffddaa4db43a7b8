#include <cmath>
#include <vector>

#include "kernels/eigen_cpu.h"
#include "kernels/parallel_cpu.h"
#include "kernels/rotary.h"

namespace wt::kernels::cpu {
namespace {

// Cosines, then sines, of what each cell's rows turn by beyond their entries: (cells, R). Empty where there is nothing.
std::vector<double> cell_angles(const RotaryOptions& options) {
  std::vector<double> angles;
  if (!options.past.defined()) return angles;
  const std::int64_t half = options.frequencies.numel();
  const double* frequencies = options.frequencies.data<double>();
  for (std::int64_t cell = 0; cell < options.past.numel(); ++cell) {
    const auto past = static_cast<double>(options.past.data<std::int32_t>()[cell]);
    for (std::int64_t i = 0; i < half; ++i) angles.push_back(std::cos(past * frequencies[i]));
    for (std::int64_t i = 0; i < half; ++i) angles.push_back(std::sin(past * frequencies[i]));
  }
  return angles;
}

}  // namespace

void rotary(const Stream&, const Tensor& qkv, std::int64_t heads, const Tensor& cos_sin, const Tensor& first_entry,
            bool inverse, const RotaryOptions& options) {
  const std::int64_t g = qkv.dim(0), b = qkv.dim(1), t = qkv.dim(2), w = qkv.dim(3);
  const std::int64_t r = cos_sin.dim(1), half = r / 2;
  const std::int64_t cells = first_entry.defined() ? first_entry.numel() : 0;  // that have an entry of their own
  const std::int32_t* first = first_entry.defined() ? first_entry.data<std::int32_t>() : nullptr;
  for (std::int64_t i = 0; first != nullptr && i < cells; ++i) {
    const std::int64_t last = first[i] + t;
    WT_CHECK(first[i] >= 0 && last <= cos_sin.dim(0), "rotary: position ", first[i] < 0 ? first[i] : last - 1,
             " is beyond the table of ", cos_sin.dim(0));
  }
  const std::vector<double> before = cell_angles(options);
  dispatch_real(qkv.dtype(), [&]<class T>() {
    parallel_ranges(g * b * t, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      std::vector<T> composed(static_cast<std::size_t>(before.empty() ? 0 : r));
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t position = row % t + (first != nullptr ? first[row / t % cells] : 0);
        const T* table = cos_sin.data<T>() + position * r;
        if (!before.empty()) {
          const double* cell = before.data() + row / t * r;
          for (std::int64_t i = 0; i < half; ++i) {
            const double c = table[i], s = table[half + i];
            composed[static_cast<std::size_t>(i)] = static_cast<T>(cell[i] * c - cell[half + i] * s);
            composed[static_cast<std::size_t>(half + i)] = static_cast<T>(cell[half + i] * c + cell[i] * s);
          }
          table = composed.data();
        }
        const T sign = inverse ? T(-1) : T(1);
        for (std::int64_t h = 0; h < heads; ++h) {
          T* x = qkv.data<T>() + row * w + h * options.head_width;
          for (std::int64_t i = 0; i < half; ++i) {
            const T c = table[i], s = sign * table[half + i];
            const T low = x[i], high = x[i + half];
            x[i] = low * c - high * s;
            x[i + half] = high * c + low * s;
          }
        }
      }
    });
  });
}

}  // namespace wt::kernels::cpu
