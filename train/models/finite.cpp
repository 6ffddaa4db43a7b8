#include "train/models/finite.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace wt {
namespace {

// Index of the first element whose exponent bits are all ones; the count where there is none. `largest`: elements whose
// other bits are above it are found, too (of a positive number they count up with its value).
template <class Bits>
std::size_t first_not_finite(std::string_view bytes, Bits exponent, Bits largest) {
  constexpr std::size_t kBlock = 1 << 14;
  constexpr Bits kMagnitude = static_cast<Bits>(~Bits{0}) >> 1;
  const std::size_t count = bytes.size() / sizeof(Bits);
  const auto bad = [&](std::size_t i) {
    Bits value = 0;  // the format does not promise alignment
    std::memcpy(&value, bytes.data() + i * sizeof(Bits), sizeof(Bits));
    return (value & exponent) == exponent || (value & kMagnitude) > largest;
  };
  for (std::size_t begin = 0; begin < count; begin += kBlock) {
    const std::size_t end = std::min(count, begin + kBlock);
    unsigned any = 0;  // no way out of the loop, so that it is vectorised
    for (std::size_t i = begin; i < end; ++i) any |= bad(i) ? 1u : 0u;
    for (std::size_t i = begin; any != 0 && i < end; ++i) {
      if (bad(i)) return i;
    }
  }
  return count;
}

}  // namespace

void check_finite(const SafetensorsFile& file, const std::string& name, bool fits_f32) {
  const StoredTensor stored = file.stored(name);
  const auto check = [&]<class Bits>(Bits exponent, Bits largest) {
    const std::size_t at = first_not_finite<Bits>(stored.bytes, exponent, largest);
    if (at == stored.bytes.size() / sizeof(Bits)) return;
    throw Error(cat(file.path(), ": tensor ", name, " holds a value that is not finite",
                    fits_f32 && sizeof(Bits) == 8 ? " in f32" : "", " (element ", at, " of ", stored.shape,
                    "): the file is damaged, or the training that wrote it diverged"));
  };
  constexpr auto kAny64 = std::numeric_limits<std::uint64_t>::max();
  if (stored.dtype == "F64") {
    std::uint64_t largest = kAny64;
    if (const double limit = std::numeric_limits<float>::max(); fits_f32) std::memcpy(&largest, &limit, sizeof largest);
    check(std::uint64_t{0x7ff0000000000000}, largest);
  } else if (stored.dtype == "F32") {
    check(std::uint32_t{0x7f800000}, static_cast<std::uint32_t>(kAny64));
  } else if (stored.dtype == "BF16") {
    check(std::uint16_t{0x7f80}, static_cast<std::uint16_t>(kAny64));
  } else if (stored.dtype == "F16") {
    check(std::uint16_t{0x7c00}, static_cast<std::uint16_t>(kAny64));
  }
}

bool all_finite(const Tensor& tensor) {
  bool finite = true;
  dispatch_real(tensor.dtype(), [&]<class T>() {
    const T* values = tensor.data<T>();
    unsigned any = 0;
    for (std::int64_t i = 0; i < tensor.numel(); ++i) {
      any |= std::abs(values[i]) <= std::numeric_limits<T>::max() ? 0u : 1u;  // NaN is not
    }
    finite = any == 0;
  });
  return finite;
}

}  // namespace wt
