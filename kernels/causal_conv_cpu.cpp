#include <algorithm>

#include "kernels/causal_conv.h"
#include "kernels/eigen_cpu.h"
#include "kernels/parallel_cpu.h"

namespace wt::kernels::cpu {
namespace {

// Channels that are a task: a row of them is some cache lines, and all that a task remembers lies in the first cache.
constexpr std::int64_t kChannels = 256;

// Channels [first, first + count) of one layer.
struct Block {
  std::int64_t layer, first, count;
};

struct Extents {
  std::int64_t g, b, t, width, e, k;
  std::int64_t blocks() const { return (e + kChannels - 1) / kChannels; }
  Block block(std::int64_t layer, std::int64_t index) const {
    return {layer, index * kChannels, std::min(kChannels, e - index * kChannels)};
  }
  std::int64_t rows(const Cells& cells, std::int64_t cell) const {
    return std::clamp<std::int64_t>(cells.rows.data<std::int32_t>()[cell], 0, t);
  }
};
Extents extents(const Tensor& x, const Tensor& w) {
  return {x.dim(0), x.dim(1), x.dim(2), x.dim(3), w.dim(1), w.dim(2)};
}

// A block's weights, a row of channels for each of the K rows that they meet.
template <class T>
RowMajor<T> taps(const Extents& e, const Block& block, const Tensor& w) {
  return const_matrix(w.data<T>() + (block.layer * e.e + block.first) * e.k, block.count, e.k, e.k).transpose();
}

// [tail; x] of one cell in a block's channels.
template <class T>
struct Full {
  const T* tail;
  const T* x;
  std::int64_t tail_rows, tail_stride, x_stride, count;
  ConstArrayMap<T> operator[](std::int64_t row) const {
    return const_array(row < tail_rows ? tail + row * tail_stride : x + (row - tail_rows) * x_stride, count);
  }
};
template <class T>
Full<T> full_rows(const Extents& e, const Block& block, std::int64_t cell, const Tensor& x, std::int64_t column,
                  const Tensor& tail) {
  return {tail.data<T>() + cell * (e.k - 1) * e.e + block.first,
          x.data<T>() + cell * e.t * e.width + column + block.first,
          e.k - 1,
          e.e,
          e.width,
          block.count};
}

// out += Σ_k w_k ∘ row(k), four taps (mostly all) in one pass.
template <class T, class Out, class RowOf>
void add_taps(const RowMajor<T>& w, Out& out, const RowOf& row) {
  const auto tap = [&](std::int64_t k) { return const_array(w.data() + k * w.cols(), w.cols()); };
  std::int64_t k = 0;
  for (; k + 4 <= w.rows(); k += 4) {
    out += tap(k) * row(k) + tap(k + 1) * row(k + 1) + tap(k + 2) * row(k + 2) + tap(k + 3) * row(k + 3);
  }
  for (; k < w.rows(); ++k) out += tap(k) * row(k);
}

// out = bias + Σ_k w_k ∘ full_{t+k}: what goes into silu.
template <class T, class Out>
void convolve(const Extents& e, const Block& block, const Full<T>& full, const RowMajor<T>& w, const Tensor& bias,
              std::int64_t t, Out& out) {
  if (bias.defined()) {
    out = const_array(bias.data<T>() + block.layer * e.e + block.first, block.count);
  } else {
    out.setZero();
  }
  add_taps(w, out, [&](std::int64_t k) { return full[t + k]; });
}

}  // namespace

void causal_conv_forward(const Stream&, const Tensor& x, std::int64_t column, const Tensor& w, const Tensor& bias,
                         const Tensor& tail, const Cells& cells, const Tensor& y, const Tensor& tail_out) {
  const Extents e = extents(x, w);
  dispatch_real(x.dtype(), [&]<class T>() {
    parallel_for(e.g * e.b * e.blocks(), [&](std::int64_t task) {
      const std::int64_t cell = task / e.blocks(), rows = e.rows(cells, cell);
      const Block block = e.block(cell / e.b, task % e.blocks());
      const RowMajor<T> weights = taps<T>(e, block, w);
      const Full<T> full = full_rows<T>(e, block, cell, x, column, tail);
      for (std::int64_t t = 0; t < e.t; ++t) {
        auto out = array(y.data<T>() + (cell * e.t + t) * e.e + block.first, block.count);
        if (t >= rows) {
          out.setZero();
          continue;
        }
        convolve(e, block, full, weights, bias, t, out);
        out /= T(1) + (-out).exp();
      }
      // Upwards: where the tail is shifted in place, a row is read before it is replaced.
      for (std::int64_t k = 0; k < e.k - 1; ++k) {
        T* const target = tail_out.data<T>() + (cell * (e.k - 1) + k) * e.e + block.first;
        const auto source = full[rows + k];
        if (target != source.data()) array(target, block.count) = source;
      }
    });
  });
}

void causal_conv_backward(const Stream&, const Tensor& dy, const Tensor& x, std::int64_t column, const Tensor& w,
                          const Tensor& bias, const Tensor& tail, const Cells& cells, const Tensor& dtail_out,
                          const Tensor& dx, const Tensor& dw, const Tensor& dbias, const Tensor& dtail) {
  const Extents e = extents(x, w);
  const std::int64_t past = e.k - 1;
  dispatch_real(x.dtype(), [&]<class T>() {
    using Row = Eigen::Array<T, Eigen::Dynamic, 1>;
    // A task has all samples of its channels: it alone sums the gradient of their weights.
    parallel_for(e.g * e.blocks(), [&](std::int64_t task) {
      const Block block = e.block(task / e.blocks(), task % e.blocks());
      const std::int64_t n = block.count;
      const RowMajor<T> weights = taps<T>(e, block, w);
      Row sum(n), sigmoid(n), bias_grad = Row::Zero(n);
      RowMajor<T> weight_grad = RowMajor<T>::Zero(e.k, n), outgoing(past, n), recent(e.k, n);
      // The gradient of what goes into silu, of row t and the K - 1 behind it.
      const auto inner = [&](std::int64_t t) { return array(recent.data() + (t + past) % e.k * n, n); };
      for (std::int64_t cell = block.layer * e.b; cell < (block.layer + 1) * e.b; ++cell) {
        const std::int64_t rows = e.rows(cells, cell), tail_at = cell * past * e.e + block.first;
        const Full<T> full = full_rows<T>(e, block, cell, x, column, tail);
        // A copy: dtail may be its memory.
        outgoing.setZero();
        if (dtail_out.defined()) outgoing = const_matrix(dtail_out.data<T>() + tail_at, past, n, e.e);
        T* const row_grads = dx.data<T>() + cell * e.t * e.width + column + block.first;
        for (std::int64_t t = rows; t < e.t; ++t) array(row_grads + t * e.width, n).setZero();
        recent.setZero();
        for (std::int64_t t = rows - 1; t >= -past; --t) {  // below zero: rows of the tail
          auto grad = inner(t);
          if (t < 0) {
            grad.setZero();
          } else {
            convolve(e, block, full, weights, bias, t, sum);
            sigmoid = T(1) / (T(1) + (-sum).exp());
            grad = const_array(dy.data<T>() + (cell * e.t + t) * e.e + block.first, n) * sigmoid *
                   (T(1) + sum * (T(1) - sigmoid));
            if (dbias.defined()) bias_grad += grad;
            for (std::int64_t k = 0; k < e.k && dw.defined(); ++k) {
              array(weight_grad.data() + k * n, n) += grad * full[t + k];
            }
          }
          if (t < 0 && !dtail.defined()) break;
          // This row of [tail; x] was seen by itself and the K - 1 after it, and perhaps is in the outgoing tail.
          const std::int64_t place = t + past;
          auto out = array(t < 0 ? dtail.data<T>() + tail_at + place * e.e : row_grads + t * e.width, n);
          out.setZero();
          if (place >= rows) out = const_array(outgoing.data() + (place - rows) * n, n);
          add_taps(weights, out, [&](std::int64_t k) { return inner(place - k); });
        }
      }
      const std::int64_t at = block.layer * e.e + block.first;
      if (dw.defined()) matrix(dw.data<T>() + at * e.k, n, e.k, e.k) += weight_grad.transpose();
      if (dbias.defined()) array(dbias.data<T>() + at, n) += bias_grad;
    });
  });
}

}  // namespace wt::kernels::cpu
