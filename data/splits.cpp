#include "data/splits.h"

#include "core/error.h"

namespace wt {

RandomStream data_stream(std::uint64_t seed, DataPurpose purpose, Split split, int task, std::uint64_t index) {
  WT_CHECK(index < (std::uint64_t{1} << 46), "data stream ", index, ", expected below 2^46");
  WT_CHECK(task >= 0 && task < 32, "data stream of task ", task, ", expected 0 ... 31");
  const std::uint64_t number = (static_cast<std::uint64_t>(split) << 54) | (static_cast<std::uint64_t>(purpose) << 51) |
                               (static_cast<std::uint64_t>(task) << 46) | index;
  return RandomStream(seed, random_stream(RandomPurpose::kData, number));
}

}  // namespace wt
