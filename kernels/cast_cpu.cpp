#include <type_traits>

#include "core/split_float.h"
#include "kernels/cast.h"
#include "kernels/parallel_cpu.h"

namespace wt::kernels::cpu {
namespace {

// Calls f.template operator()<T>() with T the type that stores this dtype.
template <class F>
void dispatch_stored(DType dtype, F&& f) {
  WT_CHECK(is_floating(dtype), "cast: dtype is ", name_of(dtype), ", expected f32, f64 or bf16");
  if (dtype == DType::kF64) {
    f.template operator()<double>();
  } else if (dtype == DType::kF32) {
    f.template operator()<float>();
  } else {
    f.template operator()<BFloat16>();
  }
}

template <class To, class From>
To convert(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (std::is_same_v<From, BFloat16>) {
    return static_cast<To>(to_float(value));
  } else if constexpr (std::is_same_v<To, BFloat16>) {
    return to_bfloat16(static_cast<float>(value));
  } else {
    return static_cast<To>(value);
  }
}

}  // namespace

void cast(const Stream&, const Tensor& x, const Tensor& y) {
  dispatch_stored(x.dtype(), [&]<class From>() {
    dispatch_stored(y.dtype(), [&]<class To>() {
      const From* const from = x.data<From>();
      To* const to = y.data<To>();
      parallel_ranges(x.numel(), kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) to[i] = convert<To>(from[i]);
      });
    });
  });
}

void split_float(const Stream&, const Tensor& x, const Tensor& high, const Tensor& low) {
  parallel_ranges(x.numel(), kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const SplitFloat halves = wt::split_float(x.data<float>()[i]);
      high.data<BFloat16>()[i] = {halves.high};
      low.data<std::int16_t>()[i] = halves.low;
    }
  });
}

void join_float(const Stream&, const Tensor& high, const Tensor& low, const Tensor& x) {
  parallel_ranges(x.numel(), kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      x.data<float>()[i] = wt::join_float({high.data<BFloat16>()[i].bits, low.data<std::int16_t>()[i]});
    }
  });
}

}  // namespace wt::kernels::cpu
