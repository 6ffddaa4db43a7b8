#include "kernels/gemm_cpu.h"

#include <algorithm>
#include <vector>

#include "kernels/eigen_cpu.h"
#include "kernels/flops_cpu.h"
#include "kernels/parallel_cpu.h"

namespace wt::kernels {
namespace {

// Output tiles of this size keep Eigen's packed panels in the second-level cache and give two cores enough pieces.
constexpr std::int64_t kTileRows = 192;
constexpr std::int64_t kTileCols = 512;
// A weight gradient sums over thousands of rows into a small matrix. Cutting the sum into pieces of this length is the
// only parallelism there is; the pieces are added up in order afterwards.
constexpr std::int64_t kSplitDepth = 1024;
constexpr std::int64_t kMaxSplits = 8;

template <class T>
struct Tile {
  std::int64_t batch, row, rows, col, cols, depth, depths;
};

// c = alpha · op(a) · op(b) + beta · c on one tile, in one thread.
template <class T>
void multiply(const Tile<T>& t, T alpha, const Operand<const T>& a, const Operand<const T>& b, T beta, T* c,
              std::int64_t c_stride) {
  const T* pa = a.data + t.batch * a.batch_stride +
                (a.transposed ? t.row + t.depth * a.row_stride : t.row * a.row_stride + t.depth);
  const T* pb = b.data + t.batch * b.batch_stride +
                (b.transposed ? t.depth + t.col * b.row_stride : t.depth * b.row_stride + t.col);
  auto out = matrix(c, t.rows, t.cols, c_stride);
  if (beta == T(0)) out.setZero();
  if (t.depths == 0) return;
  if (!a.transposed && !b.transposed) {
    out.noalias() +=
        alpha * const_matrix(pa, t.rows, t.depths, a.row_stride) * const_matrix(pb, t.depths, t.cols, b.row_stride);
  } else if (!a.transposed) {
    out.noalias() += alpha * const_matrix(pa, t.rows, t.depths, a.row_stride) *
                     const_matrix(pb, t.cols, t.depths, b.row_stride).transpose();
  } else if (!b.transposed) {
    out.noalias() += alpha * const_matrix(pa, t.depths, t.rows, a.row_stride).transpose() *
                     const_matrix(pb, t.depths, t.cols, b.row_stride);
  } else {
    out.noalias() += alpha * const_matrix(pa, t.depths, t.rows, a.row_stride).transpose() *
                     const_matrix(pb, t.cols, t.depths, b.row_stride).transpose();
  }
}

}  // namespace

template <class T>
void gemm(std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k, T alpha, Operand<const T> a,
          Operand<const T> b, T beta, Operand<T> c) {
  if (batch == 0 || m == 0 || n == 0) return;
  cpu::count_product_flops(2 * batch * m * n * k);
  const std::int64_t row_tiles = (m + kTileRows - 1) / kTileRows;
  const std::int64_t col_tiles = (n + kTileCols - 1) / kTileCols;
  const std::int64_t tiles = batch * row_tiles * col_tiles;
  const auto tile_at = [&](std::int64_t index) {
    Tile<T> t{};
    t.batch = index / (row_tiles * col_tiles);
    const std::int64_t within = index % (row_tiles * col_tiles);
    t.row = within / col_tiles * kTileRows;
    t.rows = std::min(kTileRows, m - t.row);
    t.col = within % col_tiles * kTileCols;
    t.cols = std::min(kTileCols, n - t.col);
    t.depth = 0;
    t.depths = k;
    return t;
  };
  const std::int64_t splits =
      tiles >= kMaxSplits ? 1 : std::clamp<std::int64_t>(k / kSplitDepth, 1, kMaxSplits / tiles);
  if (splits == 1) {
    parallel_for(tiles, [&](std::int64_t i) {
      const Tile<T> t = tile_at(i);
      multiply(t, alpha, a, b, beta, c.data + t.batch * c.batch_stride + t.row * c.row_stride + t.col, c.row_stride);
    });
    return;
  }
  const std::int64_t depth = (k + splits - 1) / splits;
  const std::int64_t tile_size = std::min(kTileRows, m) * std::min(kTileCols, n);
  std::vector<T> partial(static_cast<std::size_t>(tiles * splits * tile_size));
  parallel_for(tiles * splits, [&](std::int64_t i) {
    Tile<T> t = tile_at(i / splits);
    t.depth = i % splits * depth;
    t.depths = std::min(depth, k - t.depth);
    multiply(t, alpha, a, b, T(0), partial.data() + i * tile_size, t.cols);
  });
  parallel_for(tiles, [&](std::int64_t i) {
    const Tile<T> t = tile_at(i);
    auto out = matrix(c.data + t.batch * c.batch_stride + t.row * c.row_stride + t.col, t.rows, t.cols, c.row_stride);
    if (beta == T(0)) out.setZero();
    for (std::int64_t s = 0; s < splits; ++s) {
      out += const_matrix<T>(partial.data() + (i * splits + s) * tile_size, t.rows, t.cols, t.cols);
    }
  });
}

template void gemm<float>(std::int64_t, std::int64_t, std::int64_t, std::int64_t, float, Operand<const float>,
                          Operand<const float>, float, Operand<float>);
template void gemm<double>(std::int64_t, std::int64_t, std::int64_t, std::int64_t, double, Operand<const double>,
                           Operand<const double>, double, Operand<double>);

}  // namespace wt::kernels
