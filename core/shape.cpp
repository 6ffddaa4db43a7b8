#include "core/shape.h"

#include <algorithm>

namespace wt {

Shape::Shape(std::initializer_list<std::int64_t> dims) {
  for (const std::int64_t extent : dims) append(extent);
}

std::int64_t Shape::operator[](int index) const {
  const int at = index < 0 ? index + rank_ : index;
  WT_CHECK(at >= 0 && at < rank_, "shape ", str(), " has no extent ", index);
  return dims_[static_cast<std::size_t>(at)];
}

void Shape::set(int index, std::int64_t extent) {
  WT_CHECK(index >= 0 && index < rank_ && extent >= 0, "shape ", str(), ": cannot set extent ", index, " to ", extent);
  dims_[static_cast<std::size_t>(index)] = extent;
}

void Shape::append(std::int64_t extent) {
  WT_CHECK(rank_ < kMaxRank, "a shape has at most ", kMaxRank, " extents");
  WT_CHECK(extent >= 0, "extent ", extent, " of a shape is negative");
  dims_[static_cast<std::size_t>(rank_++)] = extent;
}

std::int64_t Shape::numel() const {
  return numel_from(0);
}

std::int64_t Shape::numel_from(int first) const {
  std::int64_t count = 1;
  for (int i = first; i < rank_; ++i) {
    WT_CHECK(!__builtin_mul_overflow(count, dims_[static_cast<std::size_t>(i)], &count), "shape ", str(),
             " has more elements than 64 bits count");
  }
  return count;
}

bool Shape::operator==(const Shape& other) const {
  return std::equal(begin(), end(), other.begin(), other.end());
}

std::string Shape::str() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) {
    if (i > 0) text += ",";
    text += std::to_string(dims_[static_cast<std::size_t>(i)]);
  }
  return text + "]";
}

}  // namespace wt
