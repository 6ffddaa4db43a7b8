// Texts of several lengths, whole and cut into pieces, for kernels that read a text piece by piece.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "kernels/cells.h"
#include "tests/kernels/support.h"

namespace wt::kernels {

inline std::size_t at(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

// Texts of several lengths in several layers, as tensors whose rows beyond a text's end are NaN.
struct Texts {
  std::int64_t g, b;
  std::vector<std::int64_t> lengths;  // (G · B)
  std::int64_t longest() const { return *std::max_element(lengths.begin(), lengths.end()); }
  std::int64_t cells() const { return g * b; }
};

// Rows [first, first + count) of the texts.
inline Cells cells_of(const Texts& texts, std::int64_t first, std::int64_t count) {
  std::vector<std::uint8_t> flags;
  std::vector<std::int32_t> rows;
  for (const std::int64_t length : texts.lengths) {
    rows.push_back(static_cast<std::int32_t>(std::clamp<std::int64_t>(length - first, 0, count)));
    flags.push_back(rows.back() > 0 ? kCellActive : 0);
  }
  return {integers<std::uint8_t>({texts.g, texts.b}, flags), integers({texts.g, texts.b}, rows)};
}

// Rows [first, first + count) of x_GBT…; NaN beyond the texts' ends.
inline Tensor rows_of(const Texts& texts, const Tensor& x, std::int64_t first, std::int64_t count) {
  Shape shape = x.shape();
  shape.set(2, count);
  const Tensor out = poisoned(shape, x.dtype());
  for (std::int64_t cell = 0; cell < texts.cells(); ++cell) {
    const std::int64_t used = std::clamp<std::int64_t>(texts.lengths[at(cell)] - first, 0, count);
    const auto of_cell = [&](const Tensor& t) { return t.select(cell / texts.b).select(cell % texts.b); };
    of_cell(out).slice(0, used).copy_from(Stream{}, of_cell(x).slice(first, first + used));
  }
  return out;
}

// Puts a piece's rows in use to their places in the whole, whose other rows stay; sees that the rest of it is zero.
inline void put_rows_of(const Texts& texts, const Tensor& piece, std::int64_t first, const Tensor& whole) {
  for (std::int64_t cell = 0; cell < texts.cells(); ++cell) {
    const std::int64_t used = std::clamp<std::int64_t>(texts.lengths[at(cell)] - first, 0, piece.dim(2));
    const auto of_cell = [&](const Tensor& t) { return t.select(cell / texts.b).select(cell % texts.b); };
    of_cell(whole).slice(first, first + used).copy_from(Stream{}, of_cell(piece).slice(0, used));
    for (const double value : values_of(of_cell(piece).slice(used, piece.dim(2)))) EXPECT_EQ(value, 0);
  }
}

// Cuts [0, length) at random.
inline std::vector<std::int64_t> random_pieces(std::int64_t length, std::uint64_t seed) {
  RandomStream random(seed, random_stream(RandomPurpose::kTest, 5));
  std::vector<std::int64_t> pieces;
  for (std::int64_t left = length; left > 0; left -= pieces.back()) {
    pieces.push_back(std::min(left, 1 + static_cast<std::int64_t>(random.uniform() * 7)));
  }
  return pieces;
}

inline std::vector<std::vector<std::int64_t>> all_cuts(std::int64_t length) {
  std::vector<std::vector<std::int64_t>> cuts{{length}};
  for (const std::int64_t size : {1, 2, 3}) {
    cuts.emplace_back(at(length / size), size);
    if (length % size != 0) cuts.back().push_back(length % size);
  }
  for (const std::uint64_t seed : {1, 2, 3, 4}) cuts.push_back(random_pieces(length, seed));
  return cuts;
}

}  // namespace wt::kernels
