#include <algorithm>

#include "kernels/attention_cudnn.h"
#include "kernels/attention_decode_cuda.cuh"
#include "kernels/attention_tiles_cuda.h"
#include "kernels/text_attention.h"
#include "kernels/text_attention_mma_cuda.h"

// How long the texts are stands in the GPU's memory only: what is launched follows from the shapes, the cache's
// capacity does no more than bound it, and a recorded graph serves texts that grow. cuDNN has the fastest kernel for
// many rows of bf16, tensor cores of our own take fewer and the backward, whose sums are in float32; what else has few
// rows is split over its keys, and the tiles of attention_tiles_cuda.cu do the rest.
namespace wt::kernels::cuda {
namespace {

constexpr std::int64_t kFewRows = 16;
constexpr int kThreads = 128;

// Rows of cuDNN's tiles, and tiles with which most of a large GPU's multiprocessors have one: it does not split keys.
constexpr std::int64_t kCudnnRows = 128, kCudnnTiles = 96;

// A thread per sample from `first` on, and one for where they end.
__global__ void __launch_bounds__(kThreads)
    places_kernel(CacheRows rows, std::int64_t first, std::int64_t count, std::int64_t row_width,
                  std::int64_t cache_width, std::int64_t out_width, std::int32_t* num_queries, std::int32_t* num_keys,
                  std::int64_t* query_offsets, std::int64_t* key_offsets, std::int64_t* out_offsets) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i > count) return;
  CacheRows::Place place{0, 0, 0};
  if (i < count) {
    place = rows.of(first + i);
    num_queries[i] = place.rows;
    num_keys[i] = place.end();
  }
  query_offsets[i] = i * rows.new_rows * row_width;
  key_offsets[i] = (i * rows.capacity + place.origin) * cache_width;
  out_offsets[i] = i * rows.new_rows * out_width;
}

TextPlaces places_of(const char* op, const Stream& stream, const AttentionHeads& heads, const CacheRows& rows,
                     std::int64_t first, std::int64_t count) {
  const auto offsets = [&] { return Tensor::empty(stream, {count + 1}, DType::kI64); };
  const TextPlaces places{Tensor::empty(stream, {count}, DType::kI32), Tensor::empty(stream, {count}, DType::kI32),
                          offsets(), offsets(), offsets()};
  places_kernel<<<grid_size(ceil_div(count + 1, kThreads)), kThreads, 0, native(stream)>>>(
      rows, first, count, heads.row_width(), heads.key_value * heads.width, heads.query * heads.width,
      data<std::int32_t>(places.num_queries), data<std::int32_t>(places.num_keys),
      data<std::int64_t>(places.query_offsets), data<std::int64_t>(places.key_offsets),
      data<std::int64_t>(places.out_offsets));
  check_launch(op);
  return places;
}

// Where cuDNN takes it and has work for the whole GPU; what it takes depends on shapes alone.
bool attend_by_cudnn(const char* op, const Stream& stream, const Tensor& qkv, const AttentionHeads& heads,
                     const CacheRows& rows, const Tensor& keys, const Tensor& values, const Tensor& out,
                     const Tensor& lse) {
  const std::int64_t samples = qkv.dim(0) * qkv.dim(1), t = qkv.dim(2);
  const std::int64_t at_once = cudnn_text_samples(qkv.dtype(), heads, t, rows.capacity);
  if (at_once == 0 || t < kCudnnRows) return false;
  if (std::min(samples, at_once) * heads.query * ceil_div(t, kCudnnRows) < kCudnnTiles) return false;
  const Tensor sums =
      lse.defined() ? lse : Tensor::empty(stream, {qkv.dim(0), qkv.dim(1), heads.query, t}, DType::kF32);
  for (std::int64_t first = 0; first < samples; first += at_once) {
    const std::int64_t count = std::min(at_once, samples - first);
    cudnn_text_attention_forward(stream, qkv, heads, keys, values, first, count,
                                 places_of(op, stream, heads, rows, first, count), out, sums);
  }
  clear_padding(op, stream, rows, out);
  return true;
}

}  // namespace

void text_attention_forward(const Stream& stream, const Tensor& qkv, const AttentionHeads& heads, const Cells& cells,
                            const Tensor& keys, const Tensor& values, const Tensor& out, const Tensor& lse) {
  const char* const op = "text attention";
  const std::int64_t t = qkv.dim(2);
  if (qkv.numel() == 0) return;
  const CacheRows rows = text_rows(cells, t, keys.dim(2));
  const bool mma = mma_attends(qkv.dtype(), heads, {qkv, keys, values, out});
  // A single query reads its keys at full speed without tensor cores.
  if (mma ? t * (heads.query / heads.key_value) == 1 : t <= kFewRows) {
    return decode_attention(op, stream, qkv, heads, rows, keys, values, out, lse, {});
  }
  append_rows(op, stream, qkv, heads, rows, keys, values);
  if (mma && attend_by_cudnn(op, stream, qkv, heads, rows, keys, values, out, lse)) return;
  if (mma) return mma_attention_forward(op, stream, qkv, heads, rows, keys, values, out, lse);
  tiled_attention_forward(op, stream, qkv, heads, keys, values, rows, out, lse);
  clear_padding(op, stream, rows, out);
}

void text_attention_backward(const Stream& stream, const Tensor& dout, const Tensor& qkv, const Tensor& out,
                             const Tensor& lse, const AttentionHeads& heads, const Cells& cells, const Tensor& keys,
                             const Tensor& values, const Tensor& dkeys, const Tensor& dvalues, const Tensor& dqkv) {
  const char* const op = "text attention backward";
  if (qkv.numel() == 0) return;
  const CacheRows rows = text_rows(cells, qkv.dim(2), keys.dim(2));
  if (mma_attends(qkv.dtype(), heads, {dout, qkv, out, keys, values, dkeys, dvalues, dqkv})) {
    mma_attention_backward(op, stream, dout, qkv, out, lse, heads, rows, keys, values, dkeys, dvalues, dqkv);
  } else {
    tiled_attention_backward(op, stream, dout, qkv, out, lse, heads, keys, values, rows, dkeys, dvalues, dqkv);
  }
  clear_padding(op, stream, rows, dqkv);
}

}  // namespace wt::kernels::cuda
