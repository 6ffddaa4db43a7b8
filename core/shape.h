// The extents of a tensor, at most six of them, without allocation.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "core/error.h"

namespace wt {

class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims);

  int rank() const { return rank_; }
  // Negative indices count from the end: shape[-1] is the last extent.
  std::int64_t operator[](int index) const;
  void set(int index, std::int64_t extent);
  void append(std::int64_t extent);
  std::int64_t numel() const;
  // Product of the extents from `first` on.
  std::int64_t numel_from(int first) const;
  bool operator==(const Shape& other) const;
  std::string str() const;

  const std::int64_t* begin() const { return dims_.data(); }
  const std::int64_t* end() const { return dims_.data() + rank_; }

 private:
  std::array<std::int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

}  // namespace wt
