#include <bit>
#include <cub/device/device_radix_sort.cuh>
#include <limits>

#include "kernels/cuda_common.cuh"
#include "kernels/embedding.h"

namespace wt::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

// A table of rows, or its gradient; without one, of no rows.
template <class T>
struct Table {
  T* rows = nullptr;
  std::int32_t count = 0;
};
template <class T>
Table<T> table_of(const Tensor& t) {
  if (!t.defined()) return {};
  return {data<T>(t), static_cast<std::int32_t>(t.dim(0))};
}

// True where rows of d elements can be read `width` elements at a time.
template <class T>
bool whole(const T* rows, std::int64_t d, int width) {
  return d % width == 0 && reinterpret_cast<std::uintptr_t>(rows) % (sizeof(T) * static_cast<std::size_t>(width)) == 0;
}

// A warp per row. Ids and positions that are in no table are a fault, and count as padding.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    forward(std::int64_t num_rows, std::int64_t d, const std::int32_t* ids, const std::int32_t* position,
            Table<const T> tokens, Table<const T> memory, Table<const T> positions, T* out, std::int32_t* fault) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= num_rows) return;
  const std::int32_t id = ids[row], j = -2 - id, at = positions.rows == nullptr ? -1 : position[row];
  const T* entry = nullptr;
  if (id >= 0 && id < tokens.count) entry = tokens.rows + id * d;
  if (id <= -2 && j < memory.count) entry = memory.rows + j * d;
  const T* place = at >= 0 && at < positions.count ? positions.rows + at * d : nullptr;
  if ((entry == nullptr && id != kPaddingRow) || (place == nullptr && at != -1)) report(fault, Fault::kEmbeddingRow);
#pragma unroll 4
  for (std::int64_t i = threadIdx.x % 32 * N; i < d; i += 32 * N) {
    float x[N] = {}, y[N] = {};
    if (entry != nullptr) load<N>(entry + i, x);
    if (place != nullptr) load<N>(place + i, y);
#pragma unroll
    for (int n = 0; n < N; ++n) x[n] += y[n];
    store<N>(out + row * d + i, x);
  }
}

// The entry that a row adds to: [0, tokens), then [tokens, tokens + memory); tokens + memory for none.
__global__ void __launch_bounds__(kThreads)
    make_keys(std::int64_t num_rows, const std::int32_t* ids, std::int32_t tokens, std::int32_t memory,
              std::uint32_t* keys, std::int32_t* rows) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (row >= num_rows) return;
  const std::int32_t id = ids[row], j = -2 - id;
  std::int32_t key = tokens + memory;
  if (id >= 0 && id < tokens) key = id;
  if (id <= -2 && j < memory) key = tokens + j;
  keys[row] = static_cast<std::uint32_t>(key);
  rows[row] = static_cast<std::int32_t>(row);
}

// A warp per sorted place and 32 N columns. The warps at the first place of a run of equal keys add its rows, in order.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    add_runs(std::int64_t num_rows, std::int64_t d, std::int64_t column_warps, const std::uint32_t* keys,
             const std::int32_t* rows, const T* dout, Table<float> tokens, Table<float> memory) {
  const std::int64_t warp = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  const std::int64_t first = warp / column_warps;
  const unsigned lane = threadIdx.x % 32;
  if (first >= num_rows) return;
  const std::uint32_t key = keys[first];
  const auto num_tokens = static_cast<std::uint32_t>(tokens.count);
  if (key >= num_tokens + static_cast<std::uint32_t>(memory.count)) return;
  if (first > 0 && keys[first - 1] == key) return;
  std::int64_t end = first + 1;
  while (true) {
    const bool same = end + lane < num_rows && keys[end + lane] == key;
    const unsigned others = __ballot_sync(0xffffffffu, !same);
    if (others != 0) {
      end += __ffs(static_cast<int>(others)) - 1;
      break;
    }
    end += 32;
  }
  const std::int64_t column = (warp % column_warps * 32 + lane) * N;
  if (column >= d) return;
  float* grad = (key < num_tokens ? tokens.rows + key * d : memory.rows + (key - num_tokens) * d) + column;
  float sum[N];
  load<N>(grad, sum);
  constexpr int kRows = 4;  // under way at once: runs of frequent tokens are long
  for (std::int64_t i = first; i < end; i += kRows) {
    float x[kRows][N] = {};
#pragma unroll
    for (int u = 0; u < kRows; ++u) {
      if (i + u < end) load<N>(dout + rows[i + u] * d + column, x[u]);
    }
#pragma unroll
    for (int u = 0; u < kRows; ++u) {
#pragma unroll
      for (int n = 0; n < N; ++n) sum[n] += x[u][n];
    }
  }
  store<N>(grad, sum);
}

// tokens[id] += dout[row] over the rows of each id >= 0, memory[-2 - id] += dout[row] over those of the others.
void scatter_add(const Stream& stream, const Tensor& dout, const Tensor& ids, Table<float> tokens,
                 Table<float> memory) {
  const char* op = "embedding backward";
  const std::int64_t r = ids.numel(), d = dout.shape()[-1];
  const std::int64_t entries = std::int64_t{tokens.count} + memory.count;
  WT_CHECK(r < std::numeric_limits<std::int32_t>::max() && entries < std::numeric_limits<std::int32_t>::max(), op, ": ",
           r, " rows, ", entries, " entries");
  if (r == 0 || d == 0 || entries == 0) return;
  const Tensor keys = Tensor::empty(stream, {2, r}, DType::kI32), rows = Tensor::empty(stream, {2, r}, DType::kI32);
  auto* key = reinterpret_cast<std::uint32_t*>(keys.data<std::int32_t>());
  std::int32_t* row = rows.data<std::int32_t>();
  make_keys<<<grid_size(ceil_div(r, kThreads)), kThreads, 0, native(stream)>>>(r, ids.data<std::int32_t>(),
                                                                               tokens.count, memory.count, key, row);
  check_launch(op);
  // A radix sort is stable: rows of one entry stay in order.
  const int bits = std::bit_width(static_cast<std::uint64_t>(entries));
  const auto sort = [&](void* scratch, std::size_t& bytes) {
    WT_CUDA(cub::DeviceRadixSort::SortPairs(scratch, bytes, key, key + r, row, row + r, static_cast<int>(r), 0, bits,
                                            native(stream)));
  };
  std::size_t bytes = 0;
  sort(nullptr, bytes);
  const Tensor scratch = Tensor::empty(stream, {static_cast<std::int64_t>(bytes)}, DType::kU8);
  sort(scratch.raw(), bytes);
  dispatch_float(op, dout.dtype(), [&]<class T>() {
    const auto launch = [&]<int N>() {
      const std::int64_t column_warps = ceil_div(d, 32 * N);
      add_runs<T, N><<<grid_size(ceil_div(r * column_warps, kWarps)), kThreads, 0, native(stream)>>>(
          r, d, column_warps, key + r, row + r, data<T>(dout), tokens, memory);
    };
    const bool wide =
        whole(data<T>(dout), d, kVec<T>) && whole(tokens.rows, d, kVec<T>) && whole(memory.rows, d, kVec<T>);
    wide ? launch.template operator()<kVec<T>>() : launch.template operator()<1>();
  });
  check_launch(op);
}

}  // namespace

void embedding_forward(const Stream& stream, const Tensor& rows, const Tensor& position, const Tensor& table,
                       const Tensor& memory, const Tensor& positions, const Tensor& out) {
  const std::int64_t r = rows.numel(), d = table.dim(1);
  if (r == 0 || d == 0) return;
  dispatch_float("embedding", table.dtype(), [&]<class T>() {
    const Table<const T> tokens{table_of<T>(table).rows, table_of<T>(table).count};
    const Table<const T> memories{table_of<T>(memory).rows, table_of<T>(memory).count};
    const Table<const T> places{table_of<T>(positions).rows, table_of<T>(positions).count};
    const auto launch = [&]<int N>() {
      forward<T, N><<<grid_size(ceil_div(r, kWarps)), kThreads, 0, native(stream)>>>(
          r, d, rows.data<std::int32_t>(), positions.defined() ? position.data<std::int32_t>() : nullptr, tokens,
          memories, places, data<T>(out), wt::cuda::fault_word());
    };
    const bool wide = whole(tokens.rows, d, kVec<T>) && whole(memories.rows, d, kVec<T>) &&
                      whole(places.rows, d, kVec<T>) && whole(data<T>(out), d, kVec<T>);
    wide ? launch.template operator()<kVec<T>>() : launch.template operator()<1>();
  });
  check_launch("embedding");
}

void embedding_backward(const Stream& stream, const Tensor& dout, const Tensor& rows, const Tensor& position,
                        const Tensor& dtable, const Tensor& dmemory, const Tensor& dpositions) {
  scatter_add(stream, dout, rows, table_of<float>(dtable), table_of<float>(dmemory));
  if (dpositions.defined()) scatter_add(stream, dout, position, table_of<float>(dpositions), {});
}

}  // namespace wt::kernels::cuda
