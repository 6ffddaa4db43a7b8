// Every forward kernel against its definition in plain double loops: the executable spec of the fused kernels. (The
// backward kernels are differenced in tests/autograd.)
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/add_norm.h"
#include "kernels/attention.h"
#include "kernels/cast.h"
#include "kernels/cross_entropy.h"
#include "kernels/dpfp.h"
#include "kernels/dropout.h"
#include "kernels/embedding.h"
#include "kernels/layer_norm.h"
#include "kernels/linear.h"
#include "kernels/memory.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary.h"
#include "kernels/rows.h"
#include "tests/kernels/support.h"
#include "tests/support/expect_error.h"

namespace wt::kernels {
namespace {

// Double sums in another order.
constexpr double kRounding = 1e-12;
constexpr DType kF64 = DType::kF64;
using Values = std::vector<double>;
const Stream kStream;

std::size_t at(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

TEST(Composite, Linear) {
  const std::int64_t g = 3, r = 5, in = 7, out = 4;
  const Tensor x = normal_tensor({g, r, in}, 1, kF64), bias = normal_tensor({g, out}, 2, kF64),
               residual = normal_tensor({g, r, out}, 3, kF64);
  const Values xs = values_of(x), bs = values_of(bias), rs = values_of(residual);
  for (const WeightLayout layout : {WeightLayout::kOutIn, WeightLayout::kInOut}) {
    const bool out_in = layout == WeightLayout::kOutIn;
    const Tensor w = normal_tensor(out_in ? Shape{g, out, in} : Shape{g, in, out}, 4, kF64);
    const Values ws = values_of(w);
    for (const bool with_bias : {false, true}) {
      for (const bool with_residual : {false, true}) {
        Values expected(at(g * r * out));
        for (std::int64_t l = 0; l < g; ++l) {
          for (std::int64_t i = 0; i < r; ++i) {
            for (std::int64_t o = 0; o < out; ++o) {
              double sum = (with_bias ? bs[at(l * out + o)] : 0) + (with_residual ? rs[at((l * r + i) * out + o)] : 0);
              for (std::int64_t j = 0; j < in; ++j) {
                sum += xs[at((l * r + i) * in + j)] * ws[at(l * in * out + (out_in ? o * in + j : j * out + o))];
              }
              expected[at((l * r + i) * out + o)] = sum;
            }
          }
        }
        const Tensor y = poisoned({g, r, out}, kF64);
        linear_forward(kStream, x, w, layout, with_bias ? bias : Tensor{}, with_residual ? residual : Tensor{}, y);
        EXPECT_LT(largest_error(values_of(y), expected), kRounding);
        if (!with_residual) continue;
        const Tensor same = residual.clone(kStream);  // y may be the residual itself
        linear_forward(kStream, x, w, layout, with_bias ? bias : Tensor{}, same, same);
        EXPECT_TRUE(bit_equal(same, y));
      }
    }
  }
}

TEST(Composite, Norms) {
  const std::int64_t g = 2, r = 5, d = 7;
  const Tensor x = normal_tensor({g, r, d}, 1, kF64, 3), w = normal_tensor({g, d}, 2, kF64),
               b = normal_tensor({g, d}, 3, kF64);
  const Values xs = values_of(x), ws = values_of(w), bs = values_of(b);
  Values rms(at(g * r * d)), layer(rms), rms_scale(at(g * r)), mean(rms_scale), scale(rms_scale);
  for (std::int64_t row = 0; row < g * r; ++row) {
    double squares = 0, sum = 0, variance = 0;
    for (std::int64_t i = 0; i < d; ++i) squares += xs[at(row * d + i)] * xs[at(row * d + i)] / d;
    for (std::int64_t i = 0; i < d; ++i) sum += xs[at(row * d + i)];
    mean[at(row)] = sum / d;
    for (std::int64_t i = 0; i < d; ++i) variance += std::pow(xs[at(row * d + i)] - sum / d, 2) / d;
    rms_scale[at(row)] = 1 / std::sqrt(squares + 1e-5);
    scale[at(row)] = 1 / std::sqrt(variance + 1e-5);
    for (std::int64_t i = 0; i < d; ++i) {
      const std::size_t p = at(row / r * d + i);
      rms[at(row * d + i)] = ws[p] * xs[at(row * d + i)] * rms_scale[at(row)];
      layer[at(row * d + i)] = ws[p] * (xs[at(row * d + i)] - mean[at(row)]) * scale[at(row)] + bs[p];
    }
  }
  const Tensor y = poisoned({g, r, d}, kF64), m = poisoned({g, r}, kF64), s = poisoned({g, r}, kF64);
  rms_norm_forward(kStream, x, w, 1e-5, y, s);
  EXPECT_LT(largest_error(values_of(y), rms), kRounding);
  EXPECT_LT(largest_error(values_of(s), rms_scale), kRounding);
  layer_norm_forward(kStream, x, w, b, 1e-5, y, m, s);
  EXPECT_LT(largest_error(values_of(y), layer), kRounding);
  EXPECT_LT(largest_error(values_of(m), mean), kRounding);
  EXPECT_LT(largest_error(values_of(s), scale), kRounding);
  // In place.
  const Tensor same = x.clone(kStream);
  layer_norm_forward(kStream, same, w, b, 1e-5, same, m, s);
  EXPECT_TRUE(bit_equal(same, y));
}

// Layer g at this place; not its own inverse.
const std::vector<std::int32_t> kPlaces{2, 0, 3, 1};

// Layer g of `given` at place kPlaces[g], or back.
Tensor reordered(const Tensor& given, bool back = false) {
  const Tensor out = Tensor::empty(kStream, given.shape(), given.dtype());
  for (std::int64_t g = 0; g < given.dim(0); ++g) {
    const std::int64_t place = kPlaces[at(g)];
    out.select(back ? g : place).copy_from(kStream, given.select(back ? place : g));
  }
  return out;
}

TEST(Composite, NormsInAnotherOrder) {
  const std::int64_t g = 4, r = 5, d = 7;
  const Tensor x = normal_tensor({g, r, d}, 1, kF64), w = normal_tensor({g, d}, 2, kF64),
               b = normal_tensor({g, d}, 3, kF64), dy = normal_tensor({g, r, d}, 4, kF64),
               order = integers({g}, kPlaces);
  const auto out = [&] { return poisoned({g, r, d}, kF64); };
  const auto by_row = [&] { return poisoned({g, r}, kF64); };
  {
    const Tensor y = out(), rho = by_row(), plain_y = out(), plain_rho = by_row();
    rms_norm_forward(kStream, x, w, 1e-5, y, rho, order);
    rms_norm_forward(kStream, x, w, 1e-5, plain_y, plain_rho);
    EXPECT_TRUE(bit_equal(y, reordered(plain_y)));
    EXPECT_TRUE(bit_equal(rho, plain_rho));
    for (const GradMode mode : {GradMode::kOverwrite, GradMode::kAccumulate}) {
      const Tensor dx = x.clone(kStream), dw = w.clone(kStream), plain_dx = x.clone(kStream),
                   plain_dw = w.clone(kStream);
      rms_norm_backward(kStream, dy, x, w, rho, dx, mode, dw, order);
      rms_norm_backward(kStream, reordered(dy, true), x, w, rho, plain_dx, mode, plain_dw);
      EXPECT_TRUE(bit_equal(dx, plain_dx));
      EXPECT_TRUE(bit_equal(dw, plain_dw));
    }
  }
  const Tensor y = out(), mu = by_row(), rho = by_row(), plain_y = out(), plain_mu = by_row(), plain_rho = by_row();
  layer_norm_forward(kStream, x, w, b, 1e-5, y, mu, rho, order);
  layer_norm_forward(kStream, x, w, b, 1e-5, plain_y, plain_mu, plain_rho);
  EXPECT_TRUE(bit_equal(y, reordered(plain_y)));
  EXPECT_TRUE(bit_equal(mu, plain_mu));
  EXPECT_TRUE(bit_equal(rho, plain_rho));
  for (const GradMode mode : {GradMode::kOverwrite, GradMode::kAccumulate}) {
    const Tensor dx = x.clone(kStream), dw = w.clone(kStream), db = b.clone(kStream), plain_dx = x.clone(kStream),
                 plain_dw = w.clone(kStream), plain_db = b.clone(kStream);
    layer_norm_backward(kStream, dy, x, w, mu, rho, dx, mode, dw, db, order);
    layer_norm_backward(kStream, reordered(dy, true), x, w, mu, rho, plain_dx, mode, plain_dw, plain_db);
    EXPECT_TRUE(bit_equal(dx, plain_dx));
    EXPECT_TRUE(bit_equal(dw, plain_dw));
    EXPECT_TRUE(bit_equal(db, plain_db));
  }
}

TEST(Composite, AddNorm) {
  const std::int64_t g = 4, r = 5, d = 7;
  const Tensor x = normal_tensor({g, r, d}, 1, kF64), delta = normal_tensor({g, r, d}, 2, kF64),
               w = normal_tensor({g, d}, 3, kF64), b = normal_tensor({g, d}, 4, kF64),
               dn = normal_tensor({g, r, d}, 5, kF64), residual = normal_tensor({g, r, d}, 6, kF64);
  for (const bool ordered : {false, true}) {
    const Tensor order = ordered ? integers({g}, kPlaces) : Tensor{};
    const auto in_order = [&](const Tensor& t, bool back) { return ordered ? reordered(t, back) : t; };
    // The parts: a sum, then a norm; backward the norm's into dh, then a copy.
    const Tensor sum = x.clone(kStream), normed = poisoned(x.shape(), kF64), mu = poisoned({g, r}, kF64),
                 rho = poisoned({g, r}, kF64);
    add(kStream, in_order(delta, true), sum);
    const Tensor h = poisoned(x.shape(), kF64), n = poisoned(x.shape(), kF64), mean = poisoned({g, r}, kF64),
                 rstd = poisoned({g, r}, kF64);
    for (const GradMode mode : {GradMode::kOverwrite, GradMode::kAccumulate}) {
      const Tensor dh = residual.clone(kStream), want_dh = residual.clone(kStream), ddelta = poisoned(x.shape(), kF64);
      const Tensor dw = w.clone(kStream), db = b.clone(kStream), want_dw = w.clone(kStream), want_db = b.clone(kStream);
      rms_norm_forward(kStream, sum, w, 1e-5, normed, rho);
      rms_norm_backward(kStream, dn, sum, w, rho, want_dh, mode, want_dw);
      add_rms_norm_forward(kStream, x, delta, order, w, 1e-5, h, n, rstd);
      add_rms_norm_backward(kStream, dn, h, w, rstd, order, dh, mode, dw, ddelta);
      EXPECT_TRUE(bit_equal(h, sum) && bit_equal(n, normed) && bit_equal(rstd, rho));
      EXPECT_TRUE(bit_equal(dh, want_dh) && bit_equal(dw, want_dw));
      EXPECT_TRUE(bit_equal(ddelta, in_order(dh, false)));

      layer_norm_forward(kStream, sum, w, b, 1e-5, normed, mu, rho);
      layer_norm_backward(kStream, dn, sum, w, mu, rho, want_dh, mode, want_dw, want_db);
      add_layer_norm_forward(kStream, x, delta, order, w, b, 1e-5, h, n, mean, rstd);
      add_layer_norm_backward(kStream, dn, h, w, mean, rstd, order, dh, mode, dw, db, ddelta);
      EXPECT_TRUE(bit_equal(h, sum) && bit_equal(n, normed) && bit_equal(mean, mu) && bit_equal(rstd, rho));
      EXPECT_TRUE(bit_equal(dh, want_dh) && bit_equal(dw, want_dw) && bit_equal(db, want_db));
      EXPECT_TRUE(bit_equal(ddelta, in_order(dh, false)));
    }
    // The sum in x's own memory; gradients that nobody wants.
    const Tensor same = x.clone(kStream), dh = residual.clone(kStream), again = residual.clone(kStream);
    add_rms_norm_forward(kStream, same, delta, order, w, 1e-5, same, n, rstd);
    EXPECT_TRUE(bit_equal(same, sum));
    add_rms_norm_backward(kStream, dn, h, w, rstd, order, dh, GradMode::kAccumulate, {}, {});
    rms_norm_backward(kStream, dn, h, w, rstd, again, GradMode::kAccumulate, {});
    EXPECT_TRUE(bit_equal(dh, again));
  }
}

TEST(Composite, Activations) {
  const std::int64_t r = 5, f = 3;
  const Tensor x = normal_tensor({r, 2 * f}, 1, kF64, 3);
  x.data<double>()[0] = -800;  // silu's exponential overflows: the limit is -0
  x.data<double>()[1] = 800;
  const Values xs = values_of(x);
  Values swiglu, gelu;
  for (std::int64_t i = 0; i < r * f; ++i) {
    const double gate = xs[at(i / f * 2 * f + i % f)], up = xs[at(i / f * 2 * f + f + i % f)];
    swiglu.push_back(gate < -700 ? 0 : gate / (1 + std::exp(-gate)) * up);
  }
  for (const double v : xs) {
    gelu.push_back(0.5 * v * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (v + 0.044715 * v * v * v))));
  }
  const Tensor y = poisoned({r, f}, kF64), z = poisoned({r, 2 * f}, kF64);
  swiglu_forward(kStream, x, y);
  EXPECT_LT(largest_error(values_of(y), swiglu), kRounding);
  gelu_forward(kStream, x, z);
  EXPECT_LT(largest_error(values_of(z), gelu), kRounding);
}

TEST(Composite, ActivationBackwardsInPlace) {
  const Tensor x = normal_tensor({5, 6}, 1, kF64), dy = normal_tensor({5, 3}, 2, kF64),
               dz = normal_tensor({5, 6}, 3, kF64);
  const Tensor apart = poisoned({5, 6}, kF64), same = x.clone(kStream);
  swiglu_backward(kStream, dy, x, apart);
  swiglu_backward(kStream, dy, same, same);
  EXPECT_TRUE(bit_equal(apart, same));
  const Tensor over_grad = dz.clone(kStream), over_x = x.clone(kStream);
  gelu_backward(kStream, dz, x, apart);
  gelu_backward(kStream, over_grad, x, over_grad);
  gelu_backward(kStream, dz, over_x, over_x);
  EXPECT_TRUE(bit_equal(apart, over_grad));
  EXPECT_TRUE(bit_equal(apart, over_x));
}

// Attention of one query row over the keys [0, count).
void attend(const double* q, const Values& keys, const Values& values, std::int64_t count, std::int64_t k, double* out,
            double* lse) {
  Values p;
  double top = -INFINITY, sum = 0;
  for (std::int64_t s = 0; s < count; ++s) {
    double dot = 0;
    for (std::int64_t i = 0; i < k; ++i) dot += q[i] * keys[at(s * k + i)];
    p.push_back(dot / std::sqrt(static_cast<double>(k)));
    top = std::max(top, p.back());
  }
  for (double& value : p) sum += value = std::exp(value - top);
  for (std::int64_t i = 0; i < k; ++i) {
    out[i] = 0;
    for (std::int64_t s = 0; s < count; ++s) out[i] += p[at(s)] / sum * values[at(s * k + i)];
  }
  if (lse != nullptr) *lse = top + std::log(sum);
}

TEST(Composite, Attention) {
  for (const std::int64_t t : {1, 5, 64, 65, 131}) {
    const std::int64_t g = 2, b = 2;
    const AttentionHeads heads{4, 2, 3};
    const std::int64_t k = heads.width, w = heads.row_width(), h = heads.query;
    const Tensor qkv = normal_tensor({g, b, t, w}, 1, kF64, 2);
    const Values in = values_of(qkv);
    Values expected(at(g * b * t * h * k)), expected_lse(at(g * b * h * t));
    for (std::int64_t cell = 0; cell < g * b; ++cell) {
      for (std::int64_t head = 0; head < h; ++head) {
        Values keys, values;
        for (std::int64_t s = 0; s < t; ++s) {
          for (std::int64_t i = 0; i < k; ++i) {
            keys.push_back(in[at((cell * t + s) * w + (h + head / 2) * k + i)]);
            values.push_back(in[at((cell * t + s) * w + (h + 2 + head / 2) * k + i)]);
          }
        }
        for (std::int64_t s = 0; s < t; ++s) {
          attend(in.data() + (cell * t + s) * w + head * k, keys, values, s + 1, k,
                 expected.data() + (cell * t + s) * h * k + head * k, &expected_lse[at((cell * h + head) * t + s)]);
        }
      }
    }
    const Tensor out = poisoned({g, b, t, h * k}, kF64), lse = poisoned({g, b, h, t}, kF64);
    attention_forward(kStream, qkv, heads, out, lse);
    EXPECT_LT(largest_error(values_of(out), expected), kRounding) << t;
    EXPECT_LT(largest_error(values_of(lse), expected_lse), kRounding) << t;
  }
}

TEST(Composite, CachedAttentionTurnsByPosition) {
  const AttentionHeads heads{4, 2, 6};
  const std::int64_t w = heads.row_width(), t = 5;
  const Tensor angles = normal_tensor({20, 6}, 4, kF64), length = integers({2}, {3, 9});
  const Tensor qkv = normal_tensor({1, 2, t, w}, 1, kF64), turned = qkv.clone(kStream);
  const auto run = [&](const Tensor& rows, const Tensor& table) {
    const Tensor keys = normal_tensor({2, 20, 2, 6}, 2, kF64), values = normal_tensor({2, 20, 2, 6}, 3, kF64);
    const Tensor out = poisoned({2, t, 24}, kF64);
    attention_cached(kStream, rows.select(0), heads, length, keys, values, out, table);
    return std::pair(values_of(out), values_of(keys));
  };
  rotary(kStream, turned, 6, angles, length, false);
  EXPECT_EQ(run(qkv.clone(kStream), angles), run(turned, {}));
  EXPECT_NE(run(qkv.clone(kStream), {}), run(turned, {}));
}

TEST(Composite, CachedAttentionIsAttentionPieceByPiece) {
  const std::int64_t b = 2, t = 70, capacity = 90;
  const AttentionHeads heads{4, 2, 3};
  const std::int64_t w = heads.row_width(), width = heads.query * heads.width;
  const Tensor qkv = normal_tensor({1, b, t, w}, 1, kF64);
  const Tensor whole = poisoned({1, b, t, width}, kF64), lse = poisoned({1, b, heads.query, t}, kF64);
  attention_forward(kStream, qkv, heads, whole, lse);
  const Tensor keys = poisoned({b, capacity, heads.key_value, heads.width}, kF64),
               values = poisoned(keys.shape(), kF64);
  const Tensor length = integers({b}, {0, 0});
  std::int64_t done = 0;
  for (const std::int64_t rows : {1, 2, 66, 1}) {
    const Tensor piece = poisoned({b, rows, w}, kF64), out = poisoned({b, rows, width}, kF64);
    for (std::int64_t i = 0; i < b; ++i)
      piece.select(i).copy_from(kStream, qkv.select(0).select(i).slice(done, done + rows));
    attention_cached(kStream, piece, heads, length, keys, values, out);
    for (std::int64_t i = 0; i < b; ++i) {
      EXPECT_LT(largest_error(values_of(out.select(i)), values_of(whole.select(0).select(i).slice(done, done + rows))),
                kRounding);
      length.data<std::int32_t>()[i] += static_cast<std::int32_t>(rows);
    }
    done += rows;
  }
  EXPECT_EQ(done, t);
}

TEST(Composite, Rotary) {
  const std::int64_t g = 2, b = 2, t = 3, k = 4, w = 12;
  const Tensor table = normal_tensor({9, k}, 1, kF64), x = normal_tensor({g, b, t, w}, 2, kF64);
  const Values c = values_of(table), in = values_of(x);
  for (const bool with_first : {false, true}) {
    for (const double sign : {1.0, -1.0}) {
      Values expected = in;
      for (std::int64_t row = 0; row < g * b * t; ++row) {
        const std::int64_t position = row % t + (with_first ? (row / t % b == 0 ? 6 : 1) : 0);
        for (std::int64_t head = 0; head < 2; ++head) {  // the third head stays
          for (std::int64_t i = 0; i < k / 2; ++i) {
            const std::size_t low = at(row * w + head * k + i), high = low + 2;
            const double cosine = c[at(position * k + i)], sine = sign * c[at(position * k + 2 + i)];
            expected[low] = in[low] * cosine - in[high] * sine;
            expected[high] = in[high] * cosine + in[low] * sine;
          }
        }
      }
      const Tensor y = x.clone(kStream);
      rotary(kStream, y, 2, table, with_first ? integers({b}, {6, 1}) : Tensor{}, sign < 0);
      EXPECT_LT(largest_error(values_of(y), expected), kRounding);
    }
  }
  // An entry of its own for every layer and sample is each of them alone.
  const Tensor first = integers({2, 2}, {3, 0, 5, 1}), cells = normal_tensor({2, 2, 4, w}, 2, kF64),
               whole = cells.clone(kStream);
  rotary(kStream, whole, 2, table, first, false);
  for (std::int64_t i = 0; i < 4; ++i) {
    const Tensor alone = cells.select(i / 2).select(i % 2).clone(kStream);
    rotary(kStream, alone.reshape({1, 1, 4, w}), 2, table, integers({1}, {first.data<std::int32_t>()[i]}), false);
    EXPECT_EQ(values_of(whole.select(i / 2).select(i % 2)), values_of(alone));
  }
}

TEST(Composite, CrossEntropy) {
  const std::int64_t r = 33, v = 7;
  const Tensor logits = normal_tensor({r, v}, 1, kF64, 4);
  for (std::int64_t i = 0; i < v; ++i) logits.data<double>()[i] = 1000;  // a tie of large logits: no overflow
  const Values in = values_of(logits);
  std::vector<std::int32_t> target;
  Values loss, lse, correct;
  for (std::int64_t i = 0; i < r; ++i) {
    target.push_back(static_cast<std::int32_t>(i * 5 % v));
    const auto row = in.begin() + i * v;
    double sum = 0;
    for (std::int64_t j = 0; j < v; ++j) sum += std::exp(row[j] - row[0]);
    lse.push_back(row[0] + std::log(sum));
    loss.push_back(lse.back() - row[target.back()]);
    correct.push_back(std::max_element(row, row + v) - row == target.back() ? 1 : 0);
  }
  const Tensor l = poisoned({r}, kF64), s = poisoned({r}, kF64), right = poisoned({r}, DType::kU8);
  cross_entropy_forward(kStream, logits, integers({r}, target), l, s, right);
  EXPECT_LT(largest_error(values_of(l), loss), kRounding);
  EXPECT_LT(largest_error(values_of(s), lse), kRounding);
  EXPECT_EQ(values_of(right), correct);
  EXPECT_EQ(correct[0], 1);  // the first of a tie
  const Tensor grad = poisoned({r, v}, kF64), dloss = normal_tensor({r}, 3, kF64), same = logits.clone(kStream);
  cross_entropy_backward(kStream, dloss, logits, integers({r}, target), s, grad);
  cross_entropy_backward(kStream, dloss, same, integers({r}, target), s, same);
  EXPECT_TRUE(bit_equal(grad, same));
}

TEST(Composite, Dpfp) {
  for (const std::int64_t nu : {1, 3, 7}) {
    const std::int64_t r = 5, d = 4;
    const Tensor x = normal_tensor({r, d}, 1, kF64);
    x.data<double>()[2] = 0;
    const Values in = values_of(x);
    Values expected;
    for (std::int64_t row = 0; row < r; ++row) {
      Values u;
      for (std::int64_t i = 0; i < d; ++i) u.push_back(std::max(in[at(row * d + i)], 0.0));
      for (std::int64_t i = 0; i < d; ++i) u.push_back(std::max(-in[at(row * d + i)], 0.0));
      for (std::int64_t j = 1; j <= nu; ++j) {
        for (std::int64_t i = 0; i < 2 * d; ++i) expected.push_back(u[at(i)] * u[at((i - j + 2 * d) % (2 * d))]);
      }
    }
    const Tensor phi = poisoned({r, 2 * nu * d}, kF64);
    dpfp_forward(kStream, x, nu, phi);
    EXPECT_EQ(values_of(phi), expected) << nu;
  }
}

struct MemoryInputs {
  std::int64_t g = 2, b = 3, t = 5, d = 3, p = 4;
  Tensor a = normal_tensor({g, b, p, d}, 1, kF64), z = positive_tensor({g, b, p}, 2, kF64);
  Tensor x = normal_tensor({g, b, t, d}, 3, kF64), phi = positive_tensor({g, b, t, p}, 4, kF64);
  Cells cells{integers<std::uint8_t>({g, b}, {1, 3, 0, 1, 1, 3}), integers({g, b}, {5, 4, 0, 3, 5, 2})};
};

TEST(Composite, MemoryRead) {
  const MemoryInputs m;
  const Values x = values_of(m.x), phi = values_of(m.phi), a = values_of(m.a), z = values_of(m.z);
  Values expected = x, den(at(m.g * m.b * m.t), kMemoryEpsilon);
  double smallest = INFINITY;
  for (std::int64_t row = 0; row < m.g * m.b * m.t; ++row) {
    const std::int64_t cell = row / m.t;
    if (m.cells.flags.data<std::uint8_t>()[cell] != kCellActive) continue;
    for (std::int64_t f = 0; f < m.p; ++f) den[at(row)] += phi[at(row * m.p + f)] * z[at(cell * m.p + f)];
    for (std::int64_t j = 0; j < m.d; ++j) {
      double sum = 0;
      for (std::int64_t f = 0; f < m.p; ++f) sum += phi[at(row * m.p + f)] * a[at((cell * m.p + f) * m.d + j)];
      expected[at(row * m.d + j)] += sum / den[at(row)];
    }
    if (row % m.t < m.cells.rows.data<std::int32_t>()[cell]) smallest = std::min(smallest, den[at(row)]);
  }
  const Tensor y = poisoned(m.x.shape(), kF64), c = poisoned({m.g, m.b, m.t}, kF64),
               least = Tensor::from<double>({1}, {1e9});
  memory_read_forward(kStream, m.x, m.phi, m.a, m.z, m.cells, y, c, least);
  EXPECT_LT(largest_error(values_of(y), expected), kRounding);
  EXPECT_LT(largest_error(values_of(c), den), kRounding);
  EXPECT_NEAR(least.data<double>()[0], smallest, kRounding);
}

TEST(Composite, MemoryWrite) {
  const MemoryInputs m;
  const std::int64_t rows = 2;
  const Tensor k = positive_tensor({m.g, m.b, rows, m.p}, 5, kF64), v = normal_tensor({m.g, m.b, rows, m.d}, 6, kF64),
               b = normal_tensor({m.g, m.b, rows}, 7, kF64);
  // Masses of all sizes, so that γ is clipped in some cells and not in others.
  for (std::int64_t i = 0; i < m.z.numel(); ++i) m.z.data<double>()[i] *= i < m.z.numel() / 2 ? 0.3 : 3;
  const Values ks = values_of(k), vs = values_of(v), bs = values_of(b), a = values_of(m.a), z = values_of(m.z);
  for (const bool correction : {true, false}) {
    Values new_a = a, new_z = z, error(vs.size(), 0.0), den(bs.size(), kMemoryEpsilon), gammas(bs.size(), 0.0);
    for (std::int64_t row = 0; row < m.g * m.b * rows; ++row) {
      const std::int64_t cell = row / rows;
      const std::uint8_t flags = m.cells.flags.data<std::uint8_t>()[cell];
      if ((flags & kCellActive) == 0) continue;
      const bool first = (flags & kCellFirst) != 0;
      double norm = kMemoryEpsilon;
      for (std::int64_t f = 0; f < m.p; ++f) {
        const double key = ks[at(row * m.p + f)];
        if (!first) den[at(row)] += key * z[at(cell * m.p + f)];
        norm += key * key;
      }
      const double gamma = first || !correction ? 1 : std::clamp(1 - den[at(row)] / norm, 0.0, 1.0);
      gammas[at(row)] = gamma;
      for (std::int64_t j = 0; j < m.d; ++j) {
        double old = 0;
        for (std::int64_t f = 0; f < m.p && !first; ++f)
          old += ks[at(row * m.p + f)] * a[at((cell * m.p + f) * m.d + j)];
        error[at(row * m.d + j)] = vs[at(row * m.d + j)] - old / den[at(row)];
        for (std::int64_t f = 0; f < m.p; ++f) {
          new_a[at((cell * m.p + f) * m.d + j)] +=
              ks[at(row * m.p + f)] * error[at(row * m.d + j)] / (1 + std::exp(-bs[at(row)]));
        }
      }
      for (std::int64_t f = 0; f < m.p; ++f) new_z[at(cell * m.p + f)] += gamma * ks[at(row * m.p + f)];
    }
    const MemoryWrite saved{poisoned(v.shape(), kF64), poisoned(b.shape(), kF64), poisoned(b.shape(), kF64)};
    const Tensor a_out = poisoned(m.a.shape(), kF64), z_out = poisoned(m.z.shape(), kF64);
    memory_write_forward(kStream, k, v, b, m.a, m.z, m.cells, correction, a_out, z_out, saved, {});
    EXPECT_LT(largest_error(values_of(a_out), new_a), kRounding);
    EXPECT_LT(largest_error(values_of(z_out), new_z), kRounding);
    EXPECT_LT(largest_error(values_of(saved.error), error), kRounding);
    EXPECT_LT(largest_error(values_of(saved.den), den), kRounding);
    EXPECT_LT(largest_error(values_of(saved.gamma), gammas), kRounding);
    EXPECT_EQ(values_of(m.a), a);  // the old state is left alone
    // In place.
    const Tensor same_a = m.a.clone(kStream), same_z = m.z.clone(kStream);
    memory_write_forward(kStream, k, v, b, same_a, same_z, m.cells, correction, same_a, same_z, saved, {});
    EXPECT_TRUE(bit_equal(same_a, a_out));
    EXPECT_TRUE(bit_equal(same_z, z_out));
  }
}

TEST(Composite, NotANumberIsTheSmallestDenominator) {
  MemoryInputs m;
  m.z.data<double>()[3 * m.p] = std::nan("");  // of the cell with three rows in use
  const auto smallest = [&](bool write, double before) {
    const Tensor least = Tensor::from<double>({1}, {before}), y = poisoned(m.x.shape(), kF64);
    const Tensor den = poisoned({m.g, m.b, m.t}, kF64), gamma = poisoned({m.g, m.b, m.t}, kF64);
    if (write) {
      const Tensor b = normal_tensor({m.g, m.b, m.t}, 5, kF64);
      memory_write_forward(kStream, m.phi, m.x, b, m.a, m.z, m.cells, true, poisoned(m.a.shape(), kF64),
                           poisoned(m.z.shape(), kF64), {y, den, gamma}, least);
    } else {
      memory_read_forward(kStream, m.x, m.phi, m.a, m.z, m.cells, y, den, least);
    }
    return least.data<double>()[0];
  };
  for (const bool write : {false, true}) {
    EXPECT_TRUE(std::isnan(smallest(write, INFINITY)));
    EXPECT_TRUE(std::isnan(smallest(write, 1e-9)));
  }
  m.z = positive_tensor({m.g, m.b, m.p}, 2, kF64);
  for (const bool write : {false, true}) {
    EXPECT_GT(smallest(write, INFINITY), 0);
    EXPECT_EQ(smallest(write, 1e-9), 1e-9);
    EXPECT_TRUE(std::isnan(smallest(write, std::nan(""))));
  }
}

TEST(Composite, Embedding) {
  const Tensor table = normal_tensor({5, 3}, 1, kF64), memory = normal_tensor({2, 3}, 2, kF64),
               positions = normal_tensor({4, 3}, 3, kF64);
  const Tensor rows = integers({6}, {4, 0, memory_row(0), memory_row(1), kPaddingRow, 4});
  const Tensor place = integers({6}, {0, 1, 2, 3, -1, -1});
  Values expected;
  for (const auto& [tensor, row, position] : std::vector<std::tuple<Tensor, int, int>>{
           {table, 4, 0}, {table, 0, 1}, {memory, 0, 2}, {memory, 1, 3}, {Tensor{}, 0, -1}, {table, 4, -1}}) {
    for (int i = 0; i < 3; ++i) {
      expected.push_back((tensor.defined() ? tensor.data<double>()[row * 3 + i] : 0) +
                         (position >= 0 ? positions.data<double>()[position * 3 + i] : 0));
    }
  }
  const Tensor out = poisoned({6, 3}, kF64);
  embedding_forward(kStream, rows, place, table, memory, positions, out);
  EXPECT_EQ(values_of(out), expected);
}

TEST(Composite, Rows) {
  const Tensor x = normal_tensor({2, 4, 3}, 1, kF64), first = integers({2}, {2, 0});
  const Tensor out = poisoned({2, 2, 3}, kF64);
  take_rows_forward(kStream, x, first, out);
  EXPECT_EQ(values_of(out.select(0)), values_of(x.select(0).slice(2, 4)));
  EXPECT_EQ(values_of(out.select(1)), values_of(x.select(1).slice(0, 2)));
  const Tensor dx = poisoned({2, 4, 3}, kF64);
  take_rows_backward(kStream, out, first, dx, GradMode::kOverwrite);
  EXPECT_EQ(values_of(dx.select(0).slice(0, 2)), Values(6, 0));
  EXPECT_EQ(values_of(dx.select(0).slice(2, 4)), values_of(out.select(0)));
  const Tensor untouched = poisoned({2, 4, 3}, kF64);
  take_rows_backward(kStream, out, first, untouched, GradMode::kSkip);
  EXPECT_TRUE(bit_equal(untouched, poisoned({2, 4, 3}, kF64)));

  const Tensor index = integers({3}, {7, 0, 4}), list = poisoned({3, 3}, kF64);
  gather_rows(kStream, x, index, list);
  const Tensor flat = x.reshape({8, 3});
  EXPECT_EQ(values_of(list.select(0)), values_of(flat.select(7)));
  EXPECT_EQ(values_of(list.select(2)), values_of(flat.select(4)));
  const Tensor sum = x.clone(kStream), put = poisoned({2, 4, 3}, kF64);
  scatter_add_rows(kStream, list, index, sum);
  put.fill_zero(kStream);
  put_rows(kStream, list, index, put);
  for (std::int64_t i = 0; i < 24; ++i) {
    const bool chosen = i / 3 == 7 || i / 3 == 0 || i / 3 == 4;
    EXPECT_EQ(sum.data<double>()[i], x.data<double>()[i] * (chosen ? 2 : 1));
    EXPECT_EQ(put.data<double>()[i], chosen ? x.data<double>()[i] : 0);
  }
  const Tensor y = x.clone(kStream);
  add(kStream, x, y);
  for (std::int64_t i = 0; i < 24; ++i) EXPECT_EQ(y.data<double>()[i], 2 * x.data<double>()[i]);
}

TEST(Composite, Dropout) {
  const std::int64_t elements = 10001;  // not a multiple of the four numbers a block holds
  const Tensor x = normal_tensor({2, 2, elements}, 1, kF64), cell = integers<std::int64_t>({2, 2}, {3, 70000, 1, 0});
  const DropoutKey key{11, 12, 2};
  const Tensor y = poisoned(x.shape(), kF64);
  dropout(kStream, x, cell, 0.3, key, y);
  std::int64_t kept = 0;
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const double value = y.data<double>()[i];
    if (value == 0) continue;
    ++kept;
    ASSERT_DOUBLE_EQ(value, x.data<double>()[i] / 0.7);
  }
  EXPECT_NEAR(static_cast<double>(kept) / static_cast<double>(x.numel()), 0.7, 0.01);
  // The mask belongs to the cell, wherever it stands, and changes with cell, seed, step and site.
  const auto masked = [&](std::int64_t number, const DropoutKey& k) {
    const Tensor one = poisoned({1, 1, elements}, kF64);
    dropout(kStream, x.select(0).slice(0, 1).reshape({1, 1, elements}), integers<std::int64_t>({1, 1}, {number}), 0.3,
            k, one);
    return one;
  };
  EXPECT_TRUE(bit_equal(masked(3, key).select(0), y.select(0).slice(0, 1)));
  for (const auto& [number, other] :
       std::vector<std::pair<int, DropoutKey>>{{4, key}, {3, {10, 12, 2}}, {3, {11, 13, 2}}, {3, {11, 12, 1}}}) {
    EXPECT_FALSE(bit_equal(masked(3, key), masked(number, other)));
  }
  // In place, and rate zero.
  const Tensor same = x.clone(kStream);
  dropout(kStream, same, cell, 0.3, key, same);
  EXPECT_TRUE(bit_equal(same, y));
  dropout(kStream, x, cell, 0, key, y);
  EXPECT_TRUE(bit_equal(x, y));
}

double squared_norm(const Tensor& g) {
  const Tensor sum = poisoned({1}, DType::kF64);
  sum_of_squares(kStream, g, sum);
  return sum.data<double>()[0];
}

TEST(Composite, AdamW) {
  const std::int64_t n = 20000;  // more than one thread's share
  const Tensor g = normal_tensor({n}, 1, kF64), w = normal_tensor({n}, 2, kF64);
  const Tensor m = Tensor::zeros(kStream, {n}, kF64), v = Tensor::zeros(kStream, {n}, kF64);
  Values gs = values_of(g), ws = values_of(w), ms(at(n), 0), vs(at(n), 0);
  AdamWStep options{.lr = 0.1, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6, .decay = 0.3};
  for (options.step = 1; options.step <= 3; ++options.step) {
    adamw(kStream, options, g, m, v, w, {});
    for (std::size_t i = 0; i < ws.size(); ++i) {
      ms[i] = 0.8 * ms[i] + 0.2 * gs[i];
      vs[i] = 0.95 * vs[i] + 0.05 * gs[i] * gs[i];
      const double first = ms[i] / (1 - std::pow(0.8, options.step)),
                   second = vs[i] / (1 - std::pow(0.95, options.step));
      ws[i] -= 0.1 * (first / (std::sqrt(second) + 1e-6) + 0.3 * ws[i]);
    }
    EXPECT_LT(largest_error(values_of(w), ws), kRounding);
    EXPECT_LT(largest_error(values_of(m), ms), kRounding);
    EXPECT_LT(largest_error(values_of(v), vs), kRounding);
  }
  double squares = 0;
  for (const double value : gs) squares += value * value;
  EXPECT_NEAR(squared_norm(g), squares, 1e-8);
}

TEST(Composite, AdamWScalesThenClips) {
  const std::int64_t n = 300;
  const Tensor g = normal_tensor({n}, 1, kF64), w = normal_tensor({n}, 2, kF64), same = w.clone(kStream);
  const Tensor clipped = g.clone(kStream);
  for (std::int64_t i = 0; i < n; ++i) clipped.data<double>()[i] = std::clamp(2 * g.data<double>()[i], -0.5, 0.5);
  const auto zeros = [&] { return Tensor::zeros(kStream, {n}, kF64); };
  const Tensor before = g.clone(kStream);
  adamw(kStream, {.lr = 0.1, .scale = 2, .limit = 0.5}, g, zeros(), zeros(), w, {});
  adamw(kStream, {.lr = 0.1}, clipped, zeros(), zeros(), same, {});
  EXPECT_TRUE(bit_equal(w, same));
  EXPECT_TRUE(bit_equal(g, before));
}

TEST(Composite, AdamWOnHalvesIsAdamWOnWholeNumbers) {
  const std::int64_t n = 20000;
  const Tensor g = normal_tensor({n}, 1, DType::kF32), w = normal_tensor({n}, 2, DType::kF32);
  const Tensor high = poisoned({n}, DType::kBF16), low = Tensor::zeros(kStream, {n}, DType::kI16);
  split_float(kStream, w, high, low);
  const auto zeros = [&] { return Tensor::zeros(kStream, {n}, DType::kF32); };
  const Tensor m = zeros(), v = zeros(), m2 = zeros(), v2 = zeros(), joined = poisoned({n}, DType::kF32);
  AdamWStep options{.lr = 1e-3, .decay = 0.3};
  for (options.step = 1; options.step <= 20; ++options.step) {
    adamw(kStream, options, g, m, v, w, {});
    adamw(kStream, options, g, m2, v2, high, low);
  }
  join_float(kStream, high, low, joined);
  EXPECT_TRUE(bit_equal(joined, w));
  EXPECT_TRUE(bit_equal(m2, m));
  EXPECT_TRUE(bit_equal(v2, v));
  EXPECT_ERROR(adamw(kStream, options, g, m, v, w, low), Error, "adamw: w is f32[20000], its low half i16[20000]");
  EXPECT_ERROR(adamw(kStream, options, g, m, v, high, {}), Error, "expected bf16");
}

TEST(Composite, SumOfSquaresSeesWhatIsNotFinite) {
  const Tensor g = normal_tensor({40000}, 1, DType::kF32);
  EXPECT_TRUE(std::isfinite(squared_norm(g)));
  g.data<float>()[39999] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(std::isfinite(squared_norm(g)));
  g.data<float>()[39999] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(std::isfinite(squared_norm(g)));
  g.data<float>()[39999] = 1e30f;  // overflows in float32, not in double
  EXPECT_TRUE(std::isfinite(squared_norm(g)));
}

}  // namespace
}  // namespace wt::kernels
