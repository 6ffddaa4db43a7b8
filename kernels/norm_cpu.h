// The rows of the two norms, for the norms by themselves (rms_norm.h, layer_norm.h) and behind a sum (add_norm.h).
// Included by *_cpu.cpp files only.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/tensor.h"
#include "kernels/eigen_cpu.h"
#include "kernels/grad_mode.h"
#include "kernels/parallel_cpu.h"

namespace wt::kernels::cpu {

// Where the rows of each layer lie on a side that is in another order: entry order[g] holds layer g.
class RowOrder {
 public:
  // Undefined: layer order. Throws unless it is a permutation.
  RowOrder(const char* op, const Tensor& order, std::int64_t layers, std::int64_t rows) : rows_(rows) {
    if (!order.defined()) return;
    place_ = order.data<std::int32_t>();
    std::vector<bool> taken(static_cast<std::size_t>(layers));
    for (std::int64_t g = 0; g < layers; ++g) {
      WT_CHECK(place_[g] >= 0 && place_[g] < layers, op, ": place ", place_[g], " in an order of ", layers, " layers");
      WT_CHECK(!taken[static_cast<std::size_t>(place_[g])], op, ": place ", place_[g], " is given to two layers");
      taken[static_cast<std::size_t>(place_[g])] = true;
    }
  }
  std::int64_t operator()(std::int64_t row) const {
    return place_ == nullptr ? row : place_[row / rows_] * rows_ + row % rows_;
  }

 private:
  std::int64_t rows_;
  const std::int32_t* place_ = nullptr;
};

// Extents of a norm: layers, rows of each, width.
struct NormExtents {
  std::int64_t g, r, d;
};
inline NormExtents norm_extents(const Tensor& x) {
  return {x.dim(0), x.dim(1), x.dim(2)};
}

// `source(row)` points to the row to be normalised, `target(row)` is the row of y that it becomes.
template <class T, class Source, class Target>
void rms_rows(const NormExtents& e, const Tensor& w, double eps, const Tensor& y, const Tensor& rstd,
              const Source& source, const Target& target) {
  parallel_ranges(e.g * e.r, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const auto in = const_array<T>(source(row), e.d);
      const T rho = T(1) / std::sqrt(in.square().mean() + T(eps));
      rstd.data<T>()[row] = rho;
      array(y.data<T>() + target(row) * e.d, e.d) = in * rho * const_array(w.data<T>() + row / e.r * e.d, e.d);
    }
  });
}

template <class T, class Source, class Target>
void layer_rows(const NormExtents& e, const Tensor& w, const Tensor& b, double eps, const Tensor& y, const Tensor& mean,
                const Tensor& rstd, const Source& source, const Target& target) {
  parallel_ranges(e.g * e.r, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const auto in = const_array<T>(source(row), e.d);
      const T mu = in.mean();
      const T rho = T(1) / std::sqrt((in - mu).square().mean() + T(eps));
      mean.data<T>()[row] = mu;
      rstd.data<T>()[row] = rho;
      array(y.data<T>() + target(row) * e.d, e.d) = (in - mu) * rho * const_array(w.data<T>() + row / e.r * e.d, e.d) +
                                                    const_array(b.data<T>() + row / e.r * e.d, e.d);
    }
  });
}

// body(piece, layer, begin, end) over pieces of each layer's rows, then each layer's sums += those of its pieces, in
// order: `partial` holds them piece behind piece, `count` tensors of width d each.
template <class T, class Body>
void summed_pieces(const NormExtents& e, const std::vector<Tensor>& sums, const Body& body) {
  const std::int64_t pieces = (e.r + kRowGrain - 1) / kRowGrain, count = static_cast<std::int64_t>(sums.size());
  std::vector<T> partial(static_cast<std::size_t>(e.g * pieces * count * e.d), T(0));
  parallel_for(e.g * pieces, [&](std::int64_t piece) {
    const std::int64_t layer = piece / pieces, begin = layer * e.r + piece % pieces * kRowGrain;
    body(layer, begin, std::min(begin + kRowGrain, (layer + 1) * e.r), partial.data() + piece * count * e.d);
  });
  for (std::int64_t piece = 0; piece < e.g * pieces; ++piece) {
    for (std::int64_t i = 0; i < count; ++i) {
      array(sums[static_cast<std::size_t>(i)].data<T>() + piece / pieces * e.d, e.d) +=
          const_array<T>(partial.data() + (piece * count + i) * e.d, e.d);
    }
  }
}

// dx (+)= the gradient through the norm; dw += (undefined: not wanted). `source(row)` is the row of dy that belongs to
// the row, `written(row)` is called once dx has it.
template <class T, class Source, class Written>
void rms_rows_backward(const NormExtents& e, const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& rstd,
                       const Tensor& dx, GradMode mode, const Tensor& dw, const Source& source,
                       const Written& written) {
  const std::vector<Tensor> sums = dw.defined() ? std::vector<Tensor>{dw} : std::vector<Tensor>{};
  summed_pieces<T>(e, sums, [&](std::int64_t layer, std::int64_t begin, std::int64_t end, T* partial) {
    const auto weight = const_array(w.data<T>() + layer * e.d, e.d);
    for (std::int64_t row = begin; row < end; ++row) {
      const auto in = const_array(x.data<T>() + row * e.d, e.d);
      const auto grad = const_array(dy.data<T>() + source(row) * e.d, e.d);
      const T rho = rstd.data<T>()[row];
      if (!sums.empty()) array(partial, e.d) += grad * in * rho;
      if (mode == GradMode::kSkip) continue;
      auto out = array(dx.data<T>() + row * e.d, e.d);
      const T mean = (weight * grad * in).mean() * rho * rho;
      if (mode == GradMode::kAccumulate) {
        out += rho * (weight * grad - in * mean);
      } else {
        out = rho * (weight * grad - in * mean);
      }
      written(row);
    }
  });
}

// The same of a layer norm; dw and db are both wanted or both not.
template <class T, class Source, class Written>
void layer_rows_backward(const NormExtents& e, const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& mean,
                         const Tensor& rstd, const Tensor& dx, GradMode mode, const Tensor& dw, const Tensor& db,
                         const Source& source, const Written& written) {
  const std::vector<Tensor> sums = dw.defined() ? std::vector<Tensor>{dw, db} : std::vector<Tensor>{};
  summed_pieces<T>(e, sums, [&](std::int64_t layer, std::int64_t begin, std::int64_t end, T* partial) {
    const auto weight = const_array(w.data<T>() + layer * e.d, e.d);
    for (std::int64_t row = begin; row < end; ++row) {
      const T rho = rstd.data<T>()[row], mu = mean.data<T>()[row];
      const auto normed = (const_array(x.data<T>() + row * e.d, e.d) - mu) * rho;
      const auto grad = const_array(dy.data<T>() + source(row) * e.d, e.d);
      if (!sums.empty()) {
        array(partial, e.d) += grad * normed;
        array(partial + e.d, e.d) += grad;
      }
      if (mode == GradMode::kSkip) continue;
      auto out = array(dx.data<T>() + row * e.d, e.d);
      const T mean_g = (weight * grad).mean();
      const T mean_gx = (weight * grad * normed).mean();
      if (mode == GradMode::kAccumulate) {
        out += rho * (weight * grad - mean_g - normed * mean_gx);
      } else {
        out = rho * (weight * grad - mean_g - normed * mean_gx);
      }
      written(row);
    }
  });
}

}  // namespace wt::kernels::cpu
