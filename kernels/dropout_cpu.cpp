#include "core/random.h"
#include "kernels/dropout.h"
#include "kernels/parallel_cpu.h"

namespace wt::kernels::cpu {

void dropout(const Stream&, const Tensor& x, const Tensor& cell, double p, const DropoutKey& key, const Tensor& y) {
  const std::int64_t cells = cell.numel(), elements = x.numel() / cells;
  const std::uint64_t stream =
      random_stream(RandomPurpose::kDropout, key.step * 16 + static_cast<std::uint64_t>(key.site));
  dispatch_real(x.dtype(), [&]<class T>() {
    const T scale = static_cast<T>(1.0 / (1.0 - p));
    const float threshold = static_cast<float>(p);
    const std::int64_t blocks = (elements + 3) / 4;
    parallel_ranges(cells * blocks, 4096, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t c = i / blocks, block = i % blocks;
        const std::uint64_t position = (static_cast<std::uint64_t>(cell.data<std::int64_t>()[c]) << kDropoutCellShift) +
                                       static_cast<std::uint64_t>(block);
        const PhiloxBlock random = philox(key.seed, stream, position);
        for (std::int64_t j = 0; j < 4 && block * 4 + j < elements; ++j) {
          const std::int64_t at = c * elements + block * 4 + j;
          const bool keep = uniform_float(random.word[j]) >= threshold;
          y.data<T>()[at] = keep ? x.data<T>()[at] * scale : T(0);
        }
      }
    });
  });
}

}  // namespace wt::kernels::cpu
