// Few rows through a linear layer: bound by reading the weights once, which takes cuBLASLt's products half as long
// again.
#include <type_traits>

#include "kernels/linear_fused.h"
#include "kernels/packed_cuda.cuh"

namespace wt::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr std::int64_t kMaxRows = 4;
constexpr std::int64_t kMaxInputBytes = 64 << 10;  // of all rows, in shared memory

template <class T, class Y>
struct FewRows {
  const T* x;
  const T* w;
  const float* norm;  // null: none
  const float* bias;  // null: none
  const Y* residual;  // null: none; may be y
  Y* y;
  float eps;
  int rows, inputs, outputs;  // outputs of the weights
};

// The rows into shared memory, normalised if so wanted. All threads of the block take part.
template <class T, class Y>
__device__ void stage(const FewRows<T, Y>& p, const T* x, const float* norm, T* staged) {
  constexpr int V = kVec<T>;
  __shared__ float scratch[kWarps];
  for (int r = 0; r < p.rows; ++r) {
    const T* from = x + static_cast<std::int64_t>(r) * p.inputs;
    T* const to = staged + r * p.inputs;
    float scale = 1;
    if (norm != nullptr) {
      float squares = 0;
      for (int i = static_cast<int>(threadIdx.x) * V; i < p.inputs; i += kThreads * V) {
        float v[V];
        load_packed<V>(from + i).unpack(v);
#pragma unroll
        for (int j = 0; j < V; ++j) squares += v[j] * v[j];
      }
      scale = rsqrtf(block_sum<kThreads>(squares, scratch) / static_cast<float>(p.inputs) + p.eps);
    }
    for (int i = static_cast<int>(threadIdx.x) * V; i < p.inputs; i += kThreads * V) {
      auto piece = load_packed<V>(from + i);
      if (norm != nullptr) {
        float v[V];
        piece.unpack(v);
#pragma unroll
        for (int j = 0; j < V; ++j) v[j] *= scale * norm[i + j];
        piece = Packed<T, V>::pack(v);
      }
      *reinterpret_cast<Packed<T, V>*>(to + i) = piece;
    }
    __syncthreads();  // the scratch is free for the next row, and at last the rows are there
  }
}

// Weights that a kernel before may still write are only safe where the launch is not early.
// A warp makes C neighbouring outputs, or with kSwiglu one output from a gate and its up row. Its lanes share the
// inputs; kUnroll accesses to each row of weights are under way at once, the first of them before anything else is.
template <class T, class Y, int R, int C, bool kSwiglu>
__global__ void __launch_bounds__(kThreads) few_rows_kernel(FewRows<T, Y> p) {
  constexpr int V = kVec<T>, kUnroll = 8 / C, kStep = 32 * V;
  extern __shared__ uint4 shared[];
  T* const staged = reinterpret_cast<T*>(shared);
  let_next_begin();
  const int lane = static_cast<int>(threadIdx.x) % 32, width = kSwiglu ? p.outputs / 2 : p.outputs;
  const int first = (static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / 32) * (kSwiglu ? 1 : C);
  const std::int64_t layer = blockIdx.y;
  const auto column = [&](int c) { return kSwiglu ? first + c * width : first + c; };
  const T* w[C];
#pragma unroll
  for (int c = 0; c < C; ++c) w[c] = p.w + (layer * p.outputs + column(c)) * p.inputs;

  Packed<T, V> weights[kUnroll][C];
  const auto fetch = [&](int u, int i) {
#pragma unroll
    for (int c = 0; c < C; ++c) {
      weights[u][c] =
          i < p.inputs && first + c < p.outputs && first < width ? load_packed<V>(w[c] + i) : Packed<T, V>{};
    }
  };
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) fetch(u, lane * V + u * kStep);
  wait_for_previous();
  stage(p, p.x + layer * p.rows * p.inputs, p.norm == nullptr ? nullptr : p.norm + layer * p.inputs, staged);

  float acc[R][C] = {};
  for (int begin = lane * V; begin < p.inputs; begin += kUnroll * kStep) {
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int i = begin + u * kStep;
      if (i >= p.inputs) continue;
      float weight[C][V];
#pragma unroll
      for (int c = 0; c < C; ++c) weights[u][c].unpack(weight[c]);
      fetch(u, i + kUnroll * kStep);  // the place is free: the next piece for it sets out
#pragma unroll
      for (int r = 0; r < R; ++r) {
        if (r >= p.rows) continue;
        float in[V];
        reinterpret_cast<const Packed<T, V>*>(staged + r * p.inputs + i)->unpack(in);
#pragma unroll
        for (int c = 0; c < C; ++c) {
#pragma unroll
          for (int v = 0; v < V; ++v) acc[r][c] += in[v] * weight[c][v];
        }
      }
    }
  }
#pragma unroll
  for (int r = 0; r < R; ++r) {
    float sum[C];
#pragma unroll
    for (int c = 0; c < C; ++c) {
      sum[c] = warp_sum(acc[r][c]);
      if (p.bias != nullptr && column(c) < p.outputs) sum[c] += p.bias[layer * p.outputs + column(c)];
    }
    if constexpr (kSwiglu) sum[0] = sum[0] / (1.0f + expf(-sum[0])) * sum[C - 1];
#pragma unroll
    for (int c = 0; c < (kSwiglu ? 1 : C); ++c) {
      if (lane != 0 || r >= p.rows || first + c >= width) continue;
      const std::int64_t at = (layer * p.rows + r) * width + first + c;
      p.y[at] = from_float<Y>(p.residual == nullptr ? sum[c] : sum[c] + to_float(p.residual[at]));
    }
  }
}

// Calls f with the output's type: that of the inputs, or f32.
template <class T, class F>
void dispatch_output(DType dtype, F&& f) {
  dtype == DType::kF32 ? f.template operator()<float>() : f.template operator()<T>();
}

template <class T, class Y, int R, int C, bool kSwiglu>
void launch(const Stream& stream, const FewRows<T, Y>& p, std::int64_t layers, bool early) {
  const auto kernel = few_rows_kernel<T, Y, R, C, kSwiglu>;
  const std::int64_t per_block = kWarps * (kSwiglu ? 1 : C), width = kSwiglu ? p.outputs / 2 : p.outputs;
  static auto& allowed = *new PerDevice<bool>;
  allowed.of(stream, [&] {
    WT_CUDA(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(kMaxInputBytes)));
    return true;
  });
  const dim3 grid(grid_size(ceil_div(width, per_block)), grid_size(layers));
  const std::size_t bytes = sizeof(T) * static_cast<std::size_t>(p.rows) * static_cast<std::size_t>(p.inputs);
  if (early) {
    launch_early("linear", kernel, grid, kThreads, bytes, stream, p);
  } else {
    kernel<<<grid, kThreads, bytes, native(stream)>>>(p);
    check_launch("linear");
  }
}

}  // namespace

bool linear_few_rows(const Stream& stream, const Tensor& x, const Tensor& w, const FusedLinear& parts,
                     const Tensor& y) {
  const std::int64_t g = x.dim(0), r = x.dim(1), i = x.dim(2), o = w.dim(1);
  if (parts.gate.defined() || parts.wide.defined()) return false;
  const auto size = static_cast<std::int64_t>(size_of(x.dtype()));
  const bool starts = aligned(x.raw(), w.raw());
  if (r < 1 || r > kMaxRows || g > 65535 || i * size % 16 != 0 || r * i * size > kMaxInputBytes ||
      o > std::int64_t{1} << 30 || !starts) {
    return false;
  }
  dispatch_float("linear", x.dtype(), [&]<class T>() {
    dispatch_output<T>(y.dtype(), [&]<class Y>() {
      const auto optional = [](const Tensor& t) { return t.defined() ? t.data<float>() : nullptr; };
      const FewRows<T, Y> p{data<T>(x),
                            data<T>(w),
                            optional(parts.norm),
                            optional(parts.bias),
                            parts.residual.defined() ? data<Y>(parts.residual) : nullptr,
                            data<Y>(y),
                            static_cast<float>(parts.eps),
                            static_cast<int>(r),
                            static_cast<int>(i),
                            static_cast<int>(o)};
      const auto run = [&]<int R>() {
        if (parts.swiglu) {
          if constexpr (std::is_same_v<T, Y>) launch<T, Y, R, 2, true>(stream, p, g, parts.constant_weight);
        } else if (o * g >= 16384) {  // two outputs a warp where that leaves enough warps to fill the GPU
          launch<T, Y, R, 2, false>(stream, p, g, parts.constant_weight);
        } else {
          launch<T, Y, R, 1, false>(stream, p, g, parts.constant_weight);
        }
      };
      if (r == 1) {
        run.template operator()<1>();
      } else {
        run.template operator()<kMaxRows>();
      }
    });
  });
  return true;
}

void linear_fused(const Stream& stream, const Tensor& x, const Tensor& w, WeightLayout layout, const FusedLinear& parts,
                  const Tensor& y) {
  if (layout == WeightLayout::kOutIn && linear_few_rows(stream, x, w, parts, y)) return;
  linear_in_parts(stream, x, w, layout, parts, y);
}

}  // namespace wt::kernels::cuda
