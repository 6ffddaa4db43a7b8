#include "kernels/cache_rows_cuda.cuh"
#include "kernels/packed_cuda.cuh"

namespace wt::kernels::cuda {
namespace {

// A thread: N neighbouring elements of a new row's keys and of its values, which lie `width` elements apart.
template <class T, int N>
__global__ void __launch_bounds__(kLoneThreads)
    append_kernel(const T* qkv, std::int64_t row_width, std::int64_t first_column, std::int64_t width, T* keys,
                  T* values, std::int64_t threads, CacheRows rows) {
  const std::int64_t at = std::int64_t{blockIdx.x} * kLoneThreads + threadIdx.x, pieces = width / N;
  if (at >= threads) return;
  const std::int64_t col = at % pieces * N, row = at / pieces % rows.new_rows, cell = at / pieces / rows.new_rows;
  const CacheRows::Place place = rows.of(cell);
  if (row >= place.rows) return;
  const T* const from = qkv + (cell * rows.new_rows + row) * row_width + first_column + col;
  const std::int64_t to = (cell * rows.capacity + place.origin + place.before + row) * width + col;
  store_packed<N>(keys + to, load_packed<N>(from));
  store_packed<N>(values + to, load_packed<N>(from + width));
}

// A block per row.
template <class T>
__global__ void __launch_bounds__(kLoneThreads) clear_kernel(T* x, std::int64_t width, CacheRows rows) {
  const std::int64_t row = blockIdx.x;
  if (row % rows.new_rows < rows.of(row / rows.new_rows).rows) return;
  for (std::int64_t i = threadIdx.x; i < width; i += kLoneThreads) x[row * width + i] = from_float<T>(0);
}

}  // namespace

void append_rows(const char* op, const Stream& stream, const Tensor& qkv, const AttentionHeads& heads,
                 const CacheRows& rows, const Tensor& keys, const Tensor& values) {
  const std::int64_t first_column = heads.query * heads.width, width = heads.key_value * heads.width;
  dispatch_float(op, qkv.dtype(), [&]<class T>() {
    T *const from = data<T>(qkv), *const k = data<T>(keys), *const v = data<T>(values);
    const bool fits = heads.width % kVec<T> == 0 && aligned(from, k, v);
    dispatch_access<T>(fits, [&]<int N>() {
      const std::int64_t threads = qkv.numel() / heads.row_width() * (width / N);
      append_kernel<T, N><<<lone_blocks(threads), kLoneThreads, 0, native(stream)>>>(
          from, heads.row_width(), first_column, width, k, v, threads, rows);
      check_launch(op);
    });
  });
}

void clear_padding(const char* op, const Stream& stream, const CacheRows& rows, const Tensor& x) {
  const std::int64_t width = x.shape()[-1];
  dispatch_float(op, x.dtype(), [&]<class T>() {
    clear_kernel<T><<<grid_size(x.numel() / width), kLoneThreads, 0, native(stream)>>>(data<T>(x), width, rows);
    check_launch(op);
  });
}

}  // namespace wt::kernels::cuda
