// Element types and the run-time switch over them.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/error.h"

namespace wt {

// bfloat16: the upper half of an IEEE float32. Storage only on the CPU, which computes in float32.
struct BFloat16 {
  std::uint16_t bits = 0;
};

// Round to nearest, ties to even; NaN stays NaN (its quiet bit is set, so that truncation cannot turn it into
// infinity).
inline BFloat16 to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
inline float to_float(BFloat16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

enum class DType : std::uint8_t { kF64, kF32, kBF16, kI64, kI32, kI16, kU8 };

constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
    case DType::kI64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kBF16:
    case DType::kI16:
      return 2;
    case DType::kU8:
      return 1;
  }
  return 0;
}

constexpr bool is_floating(DType dtype) {
  return dtype == DType::kF64 || dtype == DType::kF32 || dtype == DType::kBF16;
}

// What sums, statistics, the recurrent state and parameter gradients are kept in where the data are of this type.
constexpr DType wide(DType dtype) {
  return dtype == DType::kBF16 ? DType::kF32 : dtype;
}

constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return "f64";
    case DType::kF32:
      return "f32";
    case DType::kBF16:
      return "bf16";
    case DType::kI64:
      return "i64";
    case DType::kI32:
      return "i32";
    case DType::kI16:
      return "i16";
    case DType::kU8:
      return "u8";
  }
  return "?";
}

// "f32" -> kF32 and so on; throws UsageError on any other text.
DType dtype_from_name(std::string_view name);

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::kF64;
};
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct DTypeOf<BFloat16> {
  static constexpr DType value = DType::kBF16;
};
template <>
struct DTypeOf<std::int64_t> {
  static constexpr DType value = DType::kI64;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::kI32;
};
template <>
struct DTypeOf<std::int16_t> {
  static constexpr DType value = DType::kI16;
};
template <>
struct DTypeOf<std::uint8_t> {
  static constexpr DType value = DType::kU8;
};
template <class T>
constexpr DType kDTypeOf = DTypeOf<T>::value;

// Calls f.template operator()<T>() with T the arithmetic type of a CPU computation: double for f64, float for f32.
template <class F>
decltype(auto) dispatch_real(DType dtype, F&& f) {
  WT_CHECK(dtype == DType::kF64 || dtype == DType::kF32, "dtype is ", name_of(dtype), ", expected f32 or f64");
  if (dtype == DType::kF64) return f.template operator()<double>();
  return f.template operator()<float>();
}

}  // namespace wt
