// A float32 in two halves: the bfloat16 that computes, and the sixteen bits that an optimizer needs beside it. Together
// they take the room of the float32, where a copy in each precision would take half as much again.
//   bits(x) = (high << 16) + low  modulo 2^32, low in [-2^15, 2^15): high is x rounded to nearest, ties away from zero.
#pragma once

#include <bit>
#include <cstdint>

#include "core/host_device.h"

namespace wt {

struct SplitFloat {
  std::uint16_t high;  // the bits of a bfloat16
  std::int16_t low;
};

// Exact for every number and infinity; a NaN comes back as some NaN.
WT_HOST_DEVICE inline SplitFloat split_float(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((bits >> 16) | 0x7fc0u), 0};
  return {static_cast<std::uint16_t>((bits + 0x8000u) >> 16), static_cast<std::int16_t>(bits & 0xffffu)};
}

WT_HOST_DEVICE inline float join_float(SplitFloat x) {
  // The low half counts as negative from 2^15 on, which subtracts the one that rounding added to the high half.
  const auto low = static_cast<std::uint32_t>(static_cast<std::int32_t>(x.low));
  return std::bit_cast<float>((static_cast<std::uint32_t>(x.high) << 16) + low);
}

}  // namespace wt
