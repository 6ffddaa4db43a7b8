#include <algorithm>

#include "kernels/causal_conv.h"
#include "kernels/causal_conv_cuda.h"
#include "kernels/packed_cuda.cuh"
#include "kernels/partials_cuda.cuh"

// A thread has V neighbouring channels of a strip of rows and goes along it with the last K rows in registers. The
// strips follow from the rows alone, so that every sample's sums are made in the same order whatever the batch is.
// Backward, a strip computes the K - 1 rows that follow it once more.
namespace wt::kernels::cuda {
namespace {

constexpr int kConvThreads = 128;
constexpr std::int64_t kForwardStrip = 32, kBackwardStrip = 64;

template <class T, class W>
struct Conv {
  const T* x;  // of the block of columns
  const W* w;
  const float* bias;  // null: zeros
  const T* tail;
  const std::int32_t* in_use;  // rows of every cell
  std::int64_t samples, rows, channels, stride;
  std::int64_t first, all;  // of the channels of w, bias and tail: the first at work, and their number
  int taps;
  std::int64_t strips;

  __device__ std::int64_t cell() const { return blockIdx.x / strips; }
  __device__ std::int64_t strip() const { return blockIdx.x % strips; }
  __device__ std::int64_t used() const { return min(max(std::int64_t{in_use[cell()]}, std::int64_t{0}), rows); }
  __device__ std::int64_t layer() const { return cell() / samples; }
  __device__ const T* row(std::int64_t t) const { return x + (cell() * rows + t) * stride; }
  __device__ std::int64_t dense(std::int64_t t) const { return (cell() * rows + t) * channels; }
  __device__ std::int64_t tail_row(std::int64_t r) const { return (cell() * (taps - 1) + r) * all + first; }
  __device__ std::int64_t weight(std::int64_t channel) const { return layer() * all + first + channel; }
  // Row `f` of [tail; x] at this channel.
  __device__ const T* full(std::int64_t f, std::int64_t channel) const {
    return f < taps - 1 ? tail + tail_row(f) + channel : row(f - (taps - 1)) + channel;
  }
};

// dy/du of y = silu(u).
__device__ float silu_slope(float u) {
  const float s = sigmoid(u);
  return s * (1 + u * (1 - s));
}

template <int V, int K, class T, class W>
__device__ void load_taps(const Conv<T, W>& c, std::int64_t channel, float (&w)[K][V], float (&bias)[V]) {
  const std::int64_t first = c.weight(channel);
#pragma unroll
  for (int e = 0; e < V; ++e) bias[e] = c.bias == nullptr ? 0.0f : __ldg(c.bias + first + e);
  // The taps of a channel are neighbours: V·K elements.
  if constexpr (V > 1) {
    constexpr int N = V * K % kVec<W> == 0 ? kVec<W> : V * K % 4 == 0 ? 4 : 2;
#pragma unroll
    for (int i = 0; i < V * K; i += N) {
      float some[N];
      load<N>(c.w + first * K + i, some);
#pragma unroll
      for (int j = 0; j < N; ++j) w[(i + j) % K][(i + j) / K] = some[j];
    }
  } else {
#pragma unroll
    for (int k = 0; k < K; ++k) w[k][0] = to_float(c.w[first * K + k]);
  }
}

// Rows first-K+1 … first-1 of [tail; x], counted in x, at places 1 … K-1 of a window whose place j has row first + j -
// K.
template <int V, int K, class T, class W>
__device__ void load_window(const Conv<T, W>& c, std::int64_t first, std::int64_t channel, float (&window)[K][V]) {
#pragma unroll
  for (int j = 1; j < K; ++j) load_packed<V>(c.full(first + j - 1, channel)).unpack(window[j]);
}

template <int V, int K, class T, class W>
__global__ void __launch_bounds__(kConvThreads) conv_forward_kernel(Conv<T, W> c, T* y, T* tail_out) {
  const std::int64_t channel = (std::int64_t{blockIdx.y} * kConvThreads + threadIdx.x) * V;
  let_next_begin();
  if (channel >= c.channels) return;
  float w[K][V], bias[V], window[K][V];
  load_taps<V, K>(c, channel, w, bias);
  wait_for_previous();
  const std::int64_t used = c.used();
  const std::int64_t first = c.strip() * kForwardStrip, end = min(first + kForwardStrip, c.rows);
  if (first < used) load_window<V, K>(c, first, channel, window);
  if (c.strip() == 0) {
    // All of the old tail that stays is read before any is written: tail_out may be its memory.
    Packed<T, V> last[K - 1];
#pragma unroll
    for (int r = 0; r < K - 1; ++r) last[r] = load_packed<V>(c.full(used + r, channel));
#pragma unroll
    for (int r = 0; r < K - 1; ++r) store_packed<V>(tail_out + c.tail_row(r) + channel, last[r]);
  }
  const int rows = static_cast<int>(end - first), real = static_cast<int>(min(end, used) - first);
  const T* from = c.row(first) + channel;
  T* to = y + c.dense(first) + channel;
  for (int base = 0; base < rows; base += K) {
    Packed<T, V> in[K];
#pragma unroll
    for (int j = 0; j < K; ++j, from += c.stride) {
      in[j] = {};
      if (base + j < real) in[j] = load_packed<V>(from);
    }
#pragma unroll
    for (int j = 0; j < K; ++j, to += c.channels) {
      if (base + j >= rows) break;
      in[j].unpack(window[j]);
      float out[V];
#pragma unroll
      for (int e = 0; e < V; ++e) {
        float u = bias[e];
#pragma unroll
        for (int k = 0; k < K; ++k) u += w[k][e] * window[(j + 1 + k) % K][e];
        out[e] = base + j < real ? u * sigmoid(u) : 0.0f;
      }
      store_packed<V>(to, Packed<T, V>::pack(out));
    }
  }
}

// Any number of taps, a channel for each thread.
template <class T, class W>
__device__ float plain_sum_of_taps(const Conv<T, W>& c, std::int64_t t, std::int64_t channel) {
  const std::int64_t at = c.weight(channel);
  float u = c.bias == nullptr ? 0.0f : c.bias[at];
  for (int k = 0; k < c.taps; ++k) u += to_float(c.w[at * c.taps + k]) * to_float(*c.full(t + k, channel));
  return u;
}

template <class T, class W>
__global__ void __launch_bounds__(kConvThreads) plain_conv_forward_kernel(Conv<T, W> c, T* y) {
  const std::int64_t channel = std::int64_t{blockIdx.y} * kConvThreads + threadIdx.x;
  if (channel >= c.channels) return;
  const std::int64_t used = c.used();
  const std::int64_t first = c.strip() * kForwardStrip, end = min(first + kForwardStrip, c.rows);
  for (std::int64_t t = first; t < end; ++t) {
    float out = 0;
    if (t < used) {
      const float u = plain_sum_of_taps(c, t, channel);
      out = u * sigmoid(u);
    }
    y[c.dense(t) + channel] = from_float<T>(out);
  }
}
// One strip a cell. Oldest row first: each is read no later than it is written.
template <class T, class W>
__global__ void __launch_bounds__(kConvThreads) plain_tail_kernel(Conv<T, W> c, T* tail_out) {
  const std::int64_t channel = std::int64_t{blockIdx.y} * kConvThreads + threadIdx.x;
  if (channel >= c.channels) return;
  const std::int64_t used = c.used();
  for (int r = 0; r < c.taps - 1; ++r) tail_out[c.tail_row(r) + channel] = *c.full(used + r, channel);
}

// What backward reads and writes beside the forward pass's tensors. The partial sums are one row for each strip.
template <class T>
struct ConvGradients {
  const T* dy;
  const T* dtail_out;  // null: zeros
  T* dx;               // of the block of columns
  float* dw;           // null: not wanted
  float* dbias;        // null: not wanted
};

// The part of dx_t that comes by way of the tail.
template <int V, class T, class W>
__device__ void add_tail_gradient(const Conv<T, W>& c, const ConvGradients<T>& to, std::int64_t t, std::int64_t used,
                                  std::int64_t channel, float (&dx)[V]) {
  const std::int64_t r = t - (used - (c.taps - 1));
  if (to.dtail_out == nullptr || r < 0 || t >= used) return;
  float more[V];
  load_packed<V>(to.dtail_out + c.tail_row(r) + channel).unpack(more);
#pragma unroll
  for (int e = 0; e < V; ++e) dx[e] += more[e];
}

template <int V, int K, class T, class W>
__global__ void __launch_bounds__(kConvThreads, 4) conv_backward_kernel(Conv<T, W> c, ConvGradients<T> to) {
  const std::int64_t channel = (std::int64_t{blockIdx.y} * kConvThreads + threadIdx.x) * V;
  if (channel >= c.channels) return;
  float w[K][V], bias[V], window[K][V] = {}, du[K][V] = {}, dw[K][V] = {}, dbias[V] = {};
  load_taps<V, K>(c, channel, w, bias);
  const std::int64_t used = c.used();
  const std::int64_t first = c.strip() * kBackwardStrip, end = min(first + kBackwardStrip, c.rows);
  if (first < used) load_window<V, K>(c, first, channel, window);
  // Row t meets dx of row t - K + 1, the first that has no later contribution.
  const int rows = static_cast<int>(end - first), real = static_cast<int>(min(end + K - 1, used) - first);
  const T *from = c.row(first) + channel, *from_dy = to.dy + c.dense(first) + channel;
  T* out = to.dx + (c.cell() * c.rows + first) * c.stride + channel;
  for (int base = 0; base < rows + K - 1; base += K) {
    Packed<T, V> in[K], grad[K];
#pragma unroll
    for (int j = 0; j < K; ++j, from += c.stride, from_dy += c.channels) {
      in[j] = grad[j] = {};
      if (base + j >= real) continue;
      in[j] = load_packed<V>(from);
      grad[j] = load_packed<V>(from_dy);
    }
#pragma unroll
    for (int j = 0; j < K; ++j) {
      const int t = base + j;
      in[j].unpack(window[j]);
      grad[j].unpack(du[j]);
#pragma unroll
      for (int e = 0; e < V; ++e) {
        float u = bias[e];
#pragma unroll
        for (int k = 0; k < K; ++k) u += w[k][e] * window[(j + 1 + k) % K][e];
        du[j][e] = t < real ? du[j][e] * silu_slope(u) : 0.0f;
      }
      if (t < rows) {
#pragma unroll
        for (int e = 0; e < V; ++e) {
          dbias[e] += du[j][e];
#pragma unroll
          for (int k = 0; k < K; ++k) dw[k][e] += du[j][e] * window[(j + 1 + k) % K][e];
        }
      }
      const int row = t - (K - 1);
      if (row < 0 || row >= rows) continue;
      float dx[V] = {};
#pragma unroll
      for (int e = 0; e < V; ++e) {
#pragma unroll
        for (int k = 0; k < K; ++k) dx[e] += w[k][e] * du[(j + K - k) % K][e];
      }
      add_tail_gradient<V>(c, to, first + row, used, channel, dx);
      store_packed<V>(out, Packed<T, V>::pack(dx));
      out += c.stride;
    }
  }
  const std::int64_t place = std::int64_t{blockIdx.x} * c.channels + channel;
  if (to.dw != nullptr) {
#pragma unroll
    for (int i = 0; i < V * K; ++i) to.dw[place * K + i] = dw[i % K][i / K];
  }
  if (to.dbias != nullptr) {
#pragma unroll
    for (int e = 0; e < V; ++e) to.dbias[place + e] = dbias[e];
  }
}

template <class T, class W>
__device__ float plain_du(const Conv<T, W>& c, const T* dy, std::int64_t t, std::int64_t channel) {
  return to_float(dy[c.dense(t) + channel]) * silu_slope(plain_sum_of_taps(c, t, channel));
}
// Row `f` of the gradient of [tail; x], without the part that comes by way of the tail.
template <class T, class W>
__device__ float plain_dfull(const Conv<T, W>& c, const T* dy, std::int64_t f, std::int64_t used,
                             std::int64_t channel) {
  float sum = 0;
  for (int k = 0; k < c.taps; ++k) {
    if (f - k < 0 || f - k >= used) continue;
    sum += to_float(c.w[c.weight(channel) * c.taps + k]) * plain_du(c, dy, f - k, channel);
  }
  return sum;
}

template <class T, class W>
__global__ void __launch_bounds__(kConvThreads) plain_conv_backward_kernel(Conv<T, W> c, ConvGradients<T> to) {
  const std::int64_t channel = std::int64_t{blockIdx.y} * kConvThreads + threadIdx.x;
  if (channel >= c.channels) return;
  const std::int64_t used = c.used();
  const std::int64_t first = c.strip() * kBackwardStrip, end = min(first + kBackwardStrip, c.rows);
  for (std::int64_t t = first; t < end; ++t) {
    float dx[1] = {t < used ? plain_dfull(c, to.dy, t + c.taps - 1, used, channel) : 0.0f};
    add_tail_gradient<1>(c, to, t, used, channel, dx);
    to.dx[(c.cell() * c.rows + t) * c.stride + channel] = from_float<T>(dx[0]);
  }
  const std::int64_t place = std::int64_t{blockIdx.x} * c.channels + channel;
  for (int k = 0; k < c.taps && to.dw != nullptr; ++k) {
    float sum = 0;
    for (std::int64_t t = first; t < min(end, used); ++t) {
      sum += plain_du(c, to.dy, t, channel) * to_float(*c.full(t + k, channel));
    }
    to.dw[place * c.taps + k] = sum;
  }
  if (to.dbias == nullptr) return;
  float sum = 0;
  for (std::int64_t t = first; t < min(end, used); ++t) sum += plain_du(c, to.dy, t, channel);
  to.dbias[place] = sum;
}

// One strip a cell. Newest row first: each row of dtail_out is read no later than it is overwritten.
template <class T, class W>
__global__ void __launch_bounds__(kConvThreads)
    tail_gradient_kernel(Conv<T, W> c, const T* dy, const T* dtail_out, T* dtail) {
  const std::int64_t channel = std::int64_t{blockIdx.y} * kConvThreads + threadIdx.x;
  if (channel >= c.channels) return;
  const std::int64_t used = c.used();
  for (std::int64_t r = c.taps - 2; r >= 0; --r) {
    float sum = plain_dfull(c, dy, r, used, channel);
    if (dtail_out != nullptr && r >= used) sum += to_float(dtail_out[c.tail_row(r - used) + channel]);
    dtail[c.tail_row(r) + channel] = from_float<T>(sum);
  }
}

template <class T, class W>
Conv<T, W> conv_of(const Tensor& x, std::int64_t column, const Tensor& w, const Tensor& bias, const Tensor& tail,
                   const Cells& cells, std::int64_t strip, const ChannelRange& range) {
  Conv<T, W> c{};
  c.x = data<T>(x) + column + range.first;
  c.w = data<W>(w);
  c.bias = bias.defined() ? data<float>(bias) : nullptr;
  c.tail = data<T>(tail);
  c.in_use = cells.rows.data<std::int32_t>();
  c.samples = x.dim(1);
  c.rows = x.dim(2);
  c.first = range.first;
  c.channels = range.count;
  c.all = w.dim(1);
  c.stride = x.dim(3);
  c.taps = static_cast<int>(w.dim(2));
  c.strips = std::max<std::int64_t>(1, ceil_div(c.rows, strip));
  return c;
}

// Calls f.template operator()<T, W>() with the types of the activations and of the weights.
template <class F>
void dispatch_types(const char* op, const Tensor& x, const Tensor& w, F&& f) {
  dispatch_float(op, x.dtype(), [&]<class T>() {
    if (w.dtype() == x.dtype()) {
      f.template operator()<T, T>();
    } else {
      WT_CHECK(w.dtype() == DType::kF32, op, ": weights are ", name_of(w.dtype()), ", the input is ",
               name_of(x.dtype()));
      f.template operator()<T, float>();
    }
  });
}

// Calls f.template operator()<V, K>(), V channels at once where they fit; false where there is no kernel of so many
// taps.
template <int V, class T, class W, class F>
bool dispatch_taps(const Conv<T, W>& c, bool fits, F&& f) {
  fits = fits && c.channels % V == 0 && c.all % V == 0 && c.stride % V == 0;
  const auto with = [&]<int K>() {
    if (fits) {
      f.template operator()<V, K>();
    } else {
      f.template operator()<1, K>();
    }
    return true;
  };
  if (c.taps == 4) return with.template operator()<4>();
  if (c.taps == 3) return with.template operator()<3>();
  return c.taps == 2 && with.template operator()<2>();
}

template <class T, class W>
dim3 conv_grid(const Conv<T, W>& c, std::int64_t layers, std::int64_t strips, int at_once) {
  return {grid_size(layers * c.samples * strips), grid_size(ceil_div(ceil_div(c.channels, at_once), kConvThreads))};
}

}  // namespace

void causal_conv_channels(const char* op, const Stream& stream, const Tensor& x, std::int64_t column, const Tensor& w,
                          const Tensor& bias, const Tensor& tail, const Cells& cells, const ChannelRange& range,
                          const Tensor& y, const Tensor& tail_out) {
  dispatch_types(op, x, w, [&]<class T, class W>() {
    const auto c = conv_of<T, W>(x, column, w, bias, tail, cells, kForwardStrip, range);
    T *const out = data<T>(y), *const next = data<T>(tail_out);
    constexpr int kAtOnce = 4;
    const bool done = dispatch_taps<kAtOnce>(
        c, range.first % kAtOnce == 0 && aligned(c.x, c.w, c.tail, out, next), [&]<int V, int K>() {
          launch_early(op, conv_forward_kernel<V, K, T, W>, conv_grid(c, x.dim(0), c.strips, V), kConvThreads, 0,
                       stream, c, out, next);
        });
    if (done) return;
    plain_conv_forward_kernel<<<conv_grid(c, x.dim(0), c.strips, 1), kConvThreads, 0, native(stream)>>>(c, out);
    Conv<T, W> whole = c;
    whole.strips = 1;
    plain_tail_kernel<<<conv_grid(c, x.dim(0), 1, 1), kConvThreads, 0, native(stream)>>>(whole, next);
    check_launch(op);
  });
}

void causal_conv_forward(const Stream& stream, const Tensor& x, std::int64_t column, const Tensor& w,
                         const Tensor& bias, const Tensor& tail, const Cells& cells, const Tensor& y,
                         const Tensor& tail_out) {
  if (tail.numel() == 0) return;
  causal_conv_channels("causal_conv", stream, x, column, w, bias, tail, cells, {0, w.dim(1)}, y, tail_out);
}

void causal_conv_backward(const Stream& stream, const Tensor& dy, const Tensor& x, std::int64_t column, const Tensor& w,
                          const Tensor& bias, const Tensor& tail, const Cells& cells, const Tensor& dtail_out,
                          const Tensor& dx, const Tensor& dw, const Tensor& dbias, const Tensor& dtail) {
  const char* op = "causal_conv backward";
  if (tail.numel() == 0) return;
  dispatch_types(op, x, w, [&]<class T, class W>() {
    const auto c = conv_of<T, W>(x, column, w, bias, tail, cells, kBackwardStrip, {0, w.dim(1)});
    const std::int64_t layers = x.dim(0), strips = c.samples * c.strips;
    const auto partials = [&](const Tensor& wanted, std::int64_t width) {
      return wanted.defined() ? Tensor::empty(stream, {layers, strips, width}, DType::kF32) : Tensor{};
    };
    const auto start = [](const Tensor& partial) { return partial.defined() ? data<float>(partial) : nullptr; };
    const Tensor of_w = partials(dw, c.channels * c.taps), of_bias = partials(dbias, c.channels);
    const ConvGradients<T> to{data<T>(dy), dtail_out.defined() ? data<T>(dtail_out) : nullptr, data<T>(dx) + column,
                              start(of_w), start(of_bias)};
    constexpr int kAtOnce = 4;
    const bool fits = aligned(c.x, c.w, c.tail, to.dy, to.dtail_out, to.dx);
    if (c.rows > 0) {
      const bool done = dispatch_taps<kAtOnce>(c, fits, [&]<int V, int K>() {
        conv_backward_kernel<V, K><<<conv_grid(c, layers, c.strips, V), kConvThreads, 0, native(stream)>>>(c, to);
      });
      if (!done) {
        plain_conv_backward_kernel<<<conv_grid(c, layers, c.strips, 1), kConvThreads, 0, native(stream)>>>(c, to);
      }
      check_launch(op);
      if (dw.defined()) add_partials(stream, start(of_w), layers, strips, c.channels * c.taps, data<float>(dw));
      if (dbias.defined()) add_partials(stream, start(of_bias), layers, strips, c.channels, data<float>(dbias));
    }
    if (dtail.defined()) {
      Conv<T, W> whole = c;
      whole.strips = 1;
      tail_gradient_kernel<<<conv_grid(c, layers, 1, 1), kConvThreads, 0, native(stream)>>>(whole, to.dy, to.dtail_out,
                                                                                            data<T>(dtail));
    }
  });
  check_launch(op);
}

}  // namespace wt::kernels::cuda
