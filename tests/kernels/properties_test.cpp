// What every kernel owes its callers, whatever it computes: the same bits for any number of threads, every element of
// its outputs written, f32 close to f64, no trouble with empty tensors.
#include <gtest/gtest.h>
#include <omp.h>

#include <functional>

#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/add_norm.h"
#include "kernels/attention.h"
#include "kernels/causal_conv.h"
#include "kernels/cross_entropy.h"
#include "kernels/dpfp.h"
#include "kernels/dropout.h"
#include "kernels/embedding.h"
#include "kernels/gated_norm.h"
#include "kernels/layer_norm.h"
#include "kernels/linear.h"
#include "kernels/memory.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary.h"
#include "kernels/rows.h"
#include "kernels/ssd.h"
#include "kernels/text_attention.h"
#include "tests/kernels/support.h"
#include "tests/support/tolerances.h"

namespace wt::kernels {
namespace {

const Stream kStream;

// Sizes of a run: enough rows for every kernel to cut its work into several pieces, or none.
struct Size {
  std::int64_t g, b, t;
};
constexpr Size kSmall{2, 3, 5}, kLarge{2, 2, 301}, kEmpty{2, 2, 0};

// Runs one kernel on inputs of this size; its outputs, all of them poisoned beforehand (or copies of inputs that the
// kernel adds to).
struct Case {
  std::string name;
  std::function<std::vector<Tensor>(const Size&, DType)> run;
};

// Cells of every sort: later, first, inactive, later, ….
Cells mixed_cells(const Size& s) {
  std::vector<std::uint8_t> flags;
  std::vector<std::int32_t> rows;
  for (std::int64_t i = 0; i < s.g * s.b; ++i) {
    flags.push_back(std::vector<std::uint8_t>{1, 3, 0}[static_cast<std::size_t>(i % 3)]);
    rows.push_back(static_cast<std::int32_t>(i % 3 == 2 ? 0 : s.t));
  }
  return {integers<std::uint8_t>({s.g, s.b}, flags), integers({s.g, s.b}, rows)};
}

std::vector<Tensor> run_linear(const Size& s, DType t, WeightLayout layout) {
  const std::int64_t r = s.b * s.t, in = 37, out = 29;
  const Tensor x = normal_tensor({s.g, r, in}, 1, t), dy = normal_tensor({s.g, r, out}, 2, t);
  const Shape weight = layout == WeightLayout::kOutIn ? Shape{s.g, out, in} : Shape{s.g, in, out};
  const Tensor w = normal_tensor(weight, 3, t, 0.2), bias = normal_tensor({s.g, out}, 4, t);
  const Tensor y = poisoned({s.g, r, out}, t), plain = poisoned({s.g, r, out}, t);
  const Tensor dx = poisoned({s.g, r, in}, t), more = normal_tensor({s.g, r, in}, 5, t);
  const Tensor dw = normal_tensor(weight, 6, t), dbias = normal_tensor({s.g, out}, 7, t);
  linear_forward(kStream, x, w, layout, {}, {}, plain);
  linear_forward(kStream, x, w, layout, bias, dy, y);
  linear_backward_input(kStream, dy, w, layout, dx, GradMode::kOverwrite);
  linear_backward_input(kStream, dy, w, layout, more, GradMode::kAccumulate);
  linear_backward_weight(kStream, dy, x, layout, dw);
  linear_backward_bias(kStream, dy, dbias);
  return {plain, y, dx, more, dw, dbias};
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  cases.push_back({"linear", [](const Size& s, DType t) { return run_linear(s, t, WeightLayout::kOutIn); }});
  cases.push_back({"linear_in_out", [](const Size& s, DType t) { return run_linear(s, t, WeightLayout::kInOut); }});
  cases.push_back(
      {"rms_norm", [](const Size& s, DType t) -> std::vector<Tensor> {
         const Shape shape{s.g, s.b * s.t, 19};
         const Tensor x = normal_tensor(shape, 1, t), w = normal_tensor({s.g, 19}, 2, t),
                      dy = normal_tensor(shape, 3, t);
         const Tensor y = poisoned(shape, t), scale = poisoned({s.g, s.b * s.t}, t), dx = poisoned(shape, t);
         const Tensor more = normal_tensor(shape, 4, t), dw = normal_tensor({s.g, 19}, 5, t);
         rms_norm_forward(kStream, x, w, 1e-5, y, scale);
         rms_norm_backward(kStream, dy, x, w, scale, dx, GradMode::kOverwrite, dw);
         rms_norm_backward(kStream, dy, x, w, scale, more, GradMode::kAccumulate, {});
         rms_norm_backward(kStream, dy, x, w, scale, {}, GradMode::kSkip, dw);
         return {y, scale, dx, more, dw};
       }});
  cases.push_back({"layer_norm", [](const Size& s, DType t) -> std::vector<Tensor> {
                     const Shape shape{s.g, s.b * s.t, 19};
                     const Tensor x = normal_tensor(shape, 1, t), w = normal_tensor({s.g, 19}, 2, t),
                                  b = normal_tensor({s.g, 19}, 6, t), dy = normal_tensor(shape, 3, t);
                     const Tensor y = poisoned(shape, t), mean = poisoned({s.g, s.b * s.t}, t),
                                  scale = poisoned({s.g, s.b * s.t}, t);
                     const Tensor dx = poisoned(shape, t), more = normal_tensor(shape, 4, t),
                                  dw = normal_tensor({s.g, 19}, 5, t), db = normal_tensor({s.g, 19}, 7, t);
                     layer_norm_forward(kStream, x, w, b, 1e-5, y, mean, scale);
                     layer_norm_backward(kStream, dy, x, w, mean, scale, dx, GradMode::kOverwrite, dw, db);
                     layer_norm_backward(kStream, dy, x, w, mean, scale, more, GradMode::kAccumulate, {}, {});
                     layer_norm_backward(kStream, dy, x, w, mean, scale, {}, GradMode::kSkip, dw, db);
                     return {y, mean, scale, dx, more, dw, db};
                   }});
  cases.push_back(
      {"add_norm", [](const Size& s, DType t) -> std::vector<Tensor> {
         const std::int64_t r = s.b * s.t;
         const Shape shape{s.g, r, 19};
         const Tensor order = integers({s.g}, {1, 0});
         const Tensor x = normal_tensor(shape, 1, t), w = normal_tensor({s.g, 19}, 2, t),
                      b = normal_tensor({s.g, 19}, 6, t), delta = normal_tensor(shape, 3, t),
                      dn = normal_tensor(shape, 8, t);
         const Tensor h = poisoned(shape, t), n = poisoned(shape, t), mean = poisoned({s.g, r}, t),
                      scale = poisoned({s.g, r}, t), rms = poisoned(shape, t), rms_scale = poisoned({s.g, r}, t);
         const Tensor dh = poisoned(shape, t), more = normal_tensor(shape, 4, t), ddelta = poisoned(shape, t),
                      rms_ddelta = poisoned(shape, t), dw = normal_tensor({s.g, 19}, 5, t),
                      db = normal_tensor({s.g, 19}, 7, t);
         add_rms_norm_forward(kStream, x, delta, order, w, 1e-5, h, rms, rms_scale);
         add_rms_norm_backward(kStream, dn, h, w, rms_scale, order, dh, GradMode::kOverwrite, dw, rms_ddelta);
         add_layer_norm_forward(kStream, x, delta, {}, w, b, 1e-5, h, n, mean, scale);
         add_layer_norm_backward(kStream, dn, h, w, mean, scale, {}, more, GradMode::kAccumulate, dw, db, ddelta);
         return {h, n, rms, mean, scale, rms_scale, dh, more, ddelta, rms_ddelta, dw, db};
       }});
  cases.push_back({"activations", [](const Size& s, DType t) -> std::vector<Tensor> {
                     const Shape wide{s.g * s.b * s.t, 58}, half{s.g * s.b * s.t, 29};
                     const Tensor x = normal_tensor(wide, 1, t, 3), dout = normal_tensor(half, 2, t),
                                  grad = normal_tensor(wide, 3, t);
                     const Tensor y = poisoned(half, t), dx = poisoned(wide, t), z = poisoned(wide, t),
                                  dz = poisoned(wide, t);
                     swiglu_forward(kStream, x, y);
                     swiglu_backward(kStream, dout, x, dx);
                     gelu_forward(kStream, x, z);
                     gelu_backward(kStream, grad, x, dz);
                     return {y, dx, z, dz};
                   }});
  cases.push_back(
      {"attention", [](const Size& s, DType t) -> std::vector<Tensor> {
         const AttentionHeads heads{4, 2, 5};
         const Shape rows{s.g, s.b, s.t, heads.row_width()}, outs{s.g, s.b, s.t, 20};
         const Tensor qkv = normal_tensor(rows, 1, t), dout = normal_tensor(outs, 2, t);
         const Tensor out = poisoned(outs, t), lse = poisoned({s.g, s.b, 4, s.t}, t), dqkv = poisoned(rows, t);
         attention_forward(kStream, qkv, heads, out, lse);
         attention_backward(kStream, dout, qkv, out, lse, heads, dqkv);
         return {out, lse, dqkv};
       }});
  cases.push_back(
      {"cached_attention", [](const Size& s, DType t) -> std::vector<Tensor> {
         const AttentionHeads heads{4, 2, 5};
         const Tensor qkv = normal_tensor({s.b, s.t, heads.row_width()}, 1, t), out = poisoned({s.b, s.t, 20}, t);
         const Tensor keys = normal_tensor({s.b, s.t + 7, 2, 5}, 2, t),
                      values = normal_tensor({s.b, s.t + 7, 2, 5}, 3, t);
         std::vector<std::int32_t> length;
         for (std::int64_t i = 0; i < s.b; ++i) length.push_back(static_cast<std::int32_t>(7 - i));
         attention_cached(kStream, qkv, heads, integers({s.b}, length), keys, values, out);
         return {out, keys, values};
       }});
  cases.push_back(
      {"text_attention", [](const Size& s, DType t) -> std::vector<Tensor> {
         const AttentionHeads heads{4, 2, 5};
         const Shape rows{s.g, s.b, s.t, heads.row_width()}, outs{s.g, s.b, s.t, 20}, cache{s.g, s.b, s.t + 7, 2, 5};
         Cells cells = mixed_cells(s);
         std::vector<std::int32_t> past, origin;
         for (std::int64_t i = 0; i < s.g * s.b; ++i) {
           past.push_back(static_cast<std::int32_t>(6 - i));
           origin.push_back(static_cast<std::int32_t>(i % 2));
         }
         cells.past = integers({s.g, s.b}, past);
         cells.origin = integers({s.g, s.b}, origin);
         const Tensor qkv = normal_tensor(rows, 1, t), dout = normal_tensor(outs, 2, t);
         const Tensor keys = normal_tensor(cache, 3, t), values = normal_tensor(cache, 4, t),
                      dkeys = normal_tensor(cache, 5, t), dvalues = normal_tensor(cache, 6, t);
         const Tensor out = poisoned(outs, t), lse = poisoned({s.g, s.b, 4, s.t}, t), dqkv = poisoned(rows, t);
         text_attention_forward(kStream, qkv, heads, cells, keys, values, out, lse);
         text_attention_backward(kStream, dout, qkv, out, lse, heads, cells, keys, values, dkeys, dvalues, dqkv);
         return {out, keys, values, dkeys, dvalues, dqkv};
       }});
  cases.push_back({"rotary", [](const Size& s, DType t) -> std::vector<Tensor> {
                     const Tensor x = normal_tensor({s.g, s.b, s.t, 18}, 1, t), back = x.clone(kStream);
                     const Tensor table = normal_tensor({s.t + 1, 6}, 2, t);
                     rotary(kStream, x, 2, table, {}, false);
                     rotary(kStream, back, 2, table, {}, true);
                     return {x, back};
                   }});
  cases.push_back({"rotary_of_texts", [](const Size& s, DType t) -> std::vector<Tensor> {
                     const Tensor x = normal_tensor({s.g, s.b, s.t, 18}, 1, t),
                                  past = integers({s.g, s.b},
                                                  std::vector<std::int32_t>(static_cast<std::size_t>(s.g * s.b), 1000));
                     const Tensor table = normal_tensor({s.t + 1, 6}, 2, t), by = normal_tensor({3}, 3, DType::kF64);
                     rotary(kStream, x, 2, table, {}, false, {.head_width = 8, .frequencies = by, .past = past});
                     return {x};
                   }});
  cases.push_back({"cross_entropy", [](const Size& s, DType t) -> std::vector<Tensor> {
                     const std::int64_t r = s.b * s.t;
                     const Tensor logits = normal_tensor({r, 41}, 1, t, 3), dloss = normal_tensor({r}, 2, t);
                     std::vector<std::int32_t> target;
                     for (std::int64_t i = 0; i < r; ++i) target.push_back(static_cast<std::int32_t>(i * 7 % 41));
                     const Tensor ids = integers({r}, target);
                     const Tensor loss = poisoned({r}, t), lse = poisoned({r}, t), correct = poisoned({r}, DType::kU8),
                                  grad = poisoned({r, 41}, t);
                     cross_entropy_forward(kStream, logits, ids, loss, lse, correct);
                     cross_entropy_backward(kStream, dloss, logits, ids, lse, grad);
                     return {loss, lse, correct, grad};
                   }});
  cases.push_back({"dpfp", [](const Size& s, DType t) -> std::vector<Tensor> {
                     const std::int64_t r = s.g * s.b * s.t;
                     const Tensor x = normal_tensor({r, 5}, 1, t), dphi = normal_tensor({r, 30}, 2, t);
                     const Tensor phi = poisoned({r, 30}, t), dx = poisoned({r, 5}, t);
                     dpfp_forward(kStream, x, 3, phi);
                     dpfp_backward(kStream, dphi, x, 3, dx);
                     return {phi, dx};
                   }});
  cases.push_back(
      {"memory_read", [](const Size& s, DType t) -> std::vector<Tensor> {
         const std::int64_t p = 12, d = 19;
         const Shape rows{s.g, s.b, s.t, d}, features{s.g, s.b, s.t, p};
         const Tensor x = normal_tensor(rows, 1, t), phi = positive_tensor(features, 2, t),
                      dy = normal_tensor(rows, 3, t);
         const Tensor a = normal_tensor({s.g, s.b, p, d}, 4, t), z = positive_tensor({s.g, s.b, p}, 5, t);
         const Cells cells = mixed_cells(s);
         const Tensor y = poisoned(rows, t), den = poisoned({s.g, s.b, s.t}, t);
         const Tensor least = Tensor::from<double>({1}, {1e9}).to(kStream, t);
         const Tensor dphi = poisoned(features, t), da = poisoned(a.shape(), t), dz = poisoned(z.shape(), t);
         const Tensor skipped = poisoned(features, t), again = poisoned(features, t);
         const Tensor more_a = normal_tensor(a.shape(), 7, t), more_z = normal_tensor(z.shape(), 8, t);
         memory_read_forward(kStream, x, phi, a, z, cells, y, den, least);
         memory_read_backward(kStream, dy, phi, a, z, den, cells, dphi, da, dz, GradMode::kOverwrite);
         memory_read_backward(kStream, dy, phi, a, z, den, cells, again, more_a, more_z, GradMode::kAccumulate);
         memory_read_backward(kStream, dy, phi, a, z, den, cells, skipped, {}, {}, GradMode::kSkip);
         return {y, den, least, dphi, da, dz, again, more_a, more_z, skipped};
       }});
  cases.push_back({"memory_write", [](const Size& s, DType t) -> std::vector<Tensor> {
                     const std::int64_t p = 12, d = 19, m = s.t;
                     const Tensor k = positive_tensor({s.g, s.b, m, p}, 1, t),
                                  v = normal_tensor({s.g, s.b, m, d}, 2, t), b = normal_tensor({s.g, s.b, m}, 3, t);
                     const Tensor a = normal_tensor({s.g, s.b, p, d}, 4, t), z = positive_tensor({s.g, s.b, p}, 5, t);
                     const Cells cells = mixed_cells(s);
                     const Tensor least = Tensor::from<double>({1}, {1e9}).to(kStream, t);
                     const MemoryWrite saved{poisoned(v.shape(), t), poisoned(b.shape(), t), poisoned(b.shape(), t)};
                     const Tensor a_out = poisoned(a.shape(), t), z_out = poisoned(z.shape(), t);
                     memory_write_forward(kStream, k, v, b, a, z, cells, true, a_out, z_out, saved, least);
                     const Tensor da = normal_tensor(a.shape(), 6, t), dz = normal_tensor(z.shape(), 7, t);
                     const Tensor dk = poisoned(k.shape(), t), dv = poisoned(v.shape(), t), db = poisoned(b.shape(), t);
                     memory_write_backward(kStream, k, b, a, z, saved, cells, da, dz, dk, dv, db);
                     return {a_out, z_out, saved.error, saved.den, saved.gamma, least, da, dz, dk, dv, db};
                   }});
  cases.push_back({"causal_conv", [](const Size& s, DType t) -> std::vector<Tensor> {
                     const std::int64_t e = 150, width = e + 5, k = 4;
                     const Shape matrix{s.g, s.b, s.t, width}, rows{s.g, s.b, s.t, e}, tails{s.g, s.b, k - 1, e};
                     const Tensor x = normal_tensor(matrix, 1, t), w = normal_tensor({s.g, e, k}, 2, t),
                                  bias = normal_tensor({s.g, e}, 3, t), tail = normal_tensor(tails, 4, t),
                                  dy = normal_tensor(rows, 5, t), dtail_out = normal_tensor(tails, 6, t);
                     const Cells cells = mixed_cells(s);
                     const Tensor y = poisoned(rows, t), tail_out = poisoned(tails, t),
                                  dx = normal_tensor(matrix, 7, t), dtail = poisoned(tails, t),
                                  dw = normal_tensor(w.shape(), 8, t), dbias = normal_tensor(bias.shape(), 9, t);
                     causal_conv_forward(kStream, x, 3, w, bias, tail, cells, y, tail_out);
                     causal_conv_backward(kStream, dy, x, 3, w, bias, tail, cells, dtail_out, dx, dw, dbias, dtail);
                     return {y, tail_out, dx, dw, dbias, dtail};
                   }});
  cases.push_back(
      {"ssd", [](const Size& s, DType t) -> std::vector<Tensor> {
         const SsdShape shape{.heads = 10, .width = 5, .state = 7, .groups = 2, .chunk = 80, .least = 0.1, .most = 1};
         const Shape rows{s.g, s.b, s.t, shape.columns()}, states{s.g, s.b, 10, 5, 7}, heads{s.g, 10};
         const Tensor xbc = normal_tensor(rows, 1, t, 0.5), dt = normal_tensor({s.g, s.b, s.t, 10}, 2, t),
                      state = normal_tensor(states, 3, t), dy = normal_tensor({s.g, s.b, s.t, 50}, 4, t),
                      ds_out = normal_tensor(states, 5, t);
         const SsdWeights weights{normal_tensor(heads, 6, t), normal_tensor(heads, 7, t), normal_tensor(heads, 8, t)};
         const SsdWeights dweights{normal_tensor(heads, 9, t), normal_tensor(heads, 10, t),
                                   normal_tensor(heads, 11, t)};
         const Cells cells = mixed_cells(s);
         const Tensor y = poisoned(dy.shape(), t), s_out = poisoned(states, t), dxbc = poisoned(rows, t),
                      ddt = poisoned(dt.shape(), t), ds = poisoned(states, t);
         ssd_forward(kStream, xbc, dt, weights, shape, state, cells, y, s_out);
         ssd_backward(kStream, dy, xbc, dt, weights, shape, state, cells, ds_out, dxbc, ddt, dweights, ds);
         return {y, s_out, dxbc, ddt, ds, dweights.a_log, dweights.d, dweights.dt_bias};
       }});
  for (const bool norm_first : {false, true}) {
    cases.push_back(
        {norm_first ? "norm_then_gate" : "gate_then_norm", [=](const Size& s, DType t) -> std::vector<Tensor> {
           const std::int64_t i = 28, width = 31;
           const GatedNorm norm{.groups = 4, .norm_first = norm_first};
           const Shape rows{s.g, s.b, s.t, i}, matrix{s.g, s.b, s.t, width};
           const Tensor y = normal_tensor(rows, 1, t), z = normal_tensor(matrix, 2, t),
                        w = normal_tensor({s.g, i}, 3, t), dout = normal_tensor(rows, 4, t);
           const Tensor o = poisoned(rows, t), rstd = poisoned({s.g, s.b, s.t, 4}, t), dy = poisoned(rows, t),
                        dz = normal_tensor(matrix, 5, t), dw = normal_tensor({s.g, i}, 6, t);
           gated_norm_forward(kStream, y, z, w, norm, o, rstd);
           gated_norm_backward(kStream, dout, y, z, w, rstd, norm, dy, dz, dw);
           return {o, rstd, dy, dz, dw};
         }});
  }
  cases.push_back({"embedding", [](const Size& s, DType t) -> std::vector<Tensor> {
                     const std::int64_t r = s.b * s.t, d = 19;
                     const Tensor table = normal_tensor({47, d}, 1, t), memory = normal_tensor({3, d}, 2, t),
                                  places = normal_tensor({61, d}, 3, t);
                     const Tensor dout = normal_tensor({r, d}, 4, t), out = poisoned({r, d}, t);
                     std::vector<std::int32_t> rows, position;
                     for (std::int64_t i = 0; i < r; ++i) {
                       rows.push_back(static_cast<std::int32_t>(i * i % 51 - 4));  // tokens, padding and memory rows
                       position.push_back(static_cast<std::int32_t>(i % 62 - 1));
                     }
                     const Tensor ids = integers({r}, rows), at = integers({r}, position);
                     const Tensor dtable = normal_tensor({47, d}, 5, t), dmemory = normal_tensor({3, d}, 6, t),
                                  dplaces = normal_tensor({61, d}, 7, t);
                     embedding_forward(kStream, ids, at, table, memory, places, out);
                     embedding_backward(kStream, dout, ids, at, dtable, dmemory, dplaces);
                     return {out, dtable, dmemory, dplaces};
                   }});
  cases.push_back(
      {"rows", [](const Size& s, DType t) -> std::vector<Tensor> {
         const std::int64_t m = s.t / 2, d = 19;
         const Tensor x = normal_tensor({s.g * s.b, s.t, d}, 1, t), dout = normal_tensor({s.g * s.b, m, d}, 2, t);
         std::vector<std::int32_t> first, index;
         for (std::int64_t i = 0; i < s.g * s.b; ++i) first.push_back(static_cast<std::int32_t>(i % (m + 1)));
         for (std::int64_t i = 0; i < s.t; ++i) index.push_back(static_cast<std::int32_t>(s.t * (i + 1) - 1 - i));
         const Tensor at = integers({s.g * s.b}, first), list = integers({s.t}, index);
         const Tensor out = poisoned(dout.shape(), t), dx = poisoned(x.shape(), t), more = x.clone(kStream);
         const Tensor gathered = poisoned({s.t, d}, t), scattered = normal_tensor({s.t, s.t, d}, 3, t),
                      put = scattered.clone(kStream);
         const Tensor wide = normal_tensor({s.t, s.t, d}, 4, t), sum = wide.clone(kStream);
         take_rows_forward(kStream, x, at, out);
         take_rows_backward(kStream, dout, at, dx, GradMode::kOverwrite);
         take_rows_backward(kStream, dout, at, more, GradMode::kAccumulate);
         gather_rows(kStream, wide, list, gathered);
         scatter_add_rows(kStream, gathered, list, scattered);
         put_rows(kStream, gathered, list, put);
         add(kStream, scattered, sum);
         return {out, dx, more, gathered, scattered, put, sum};
       }});
  cases.push_back({"dropout", [](const Size& s, DType t) -> std::vector<Tensor> {
                     const Tensor x = normal_tensor({s.g, s.b, s.t, 30}, 1, t), y = poisoned(x.shape(), t);
                     std::vector<std::int64_t> number;
                     for (std::int64_t i = 0; i < s.g * s.b; ++i) number.push_back(i * i + 5);
                     dropout(kStream, x, integers<std::int64_t>({s.g, s.b}, number), 0.25, {1, 2, 3}, y);
                     return {y};
                   }});
  cases.push_back({"optimizer", [](const Size& s, DType t) -> std::vector<Tensor> {
                     const Shape shape{s.g * s.b * s.t, 41};
                     const Tensor g = normal_tensor(shape, 1, t, 1e-2), w = normal_tensor(shape, 2, t),
                                  m = normal_tensor(shape, 3, t, 1e-2), v = positive_tensor(shape, 4, t);
                     const Tensor sum = poisoned({1}, DType::kF64);
                     sum_of_squares(kStream, g, sum);
                     adamw(kStream, {.lr = 0.1, .decay = 0.1, .scale = 0.7, .limit = 1e-2, .step = 3}, g, m, v, w, {});
                     return {g, w, m, v, sum};
                   }});
  return cases;
}

class Kernels : public testing::TestWithParam<Case> {};

TEST_P(Kernels, SameBitsForAnyNumberOfThreads) {
  const int before = omp_get_max_threads();
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    omp_set_num_threads(1);
    const std::vector<Tensor> one = GetParam().run(kLarge, dtype);
    ASSERT_FALSE(one.empty());
    for (const int threads : {2, 3, 5}) {
      omp_set_num_threads(threads);
      const std::vector<Tensor> many = GetParam().run(kLarge, dtype);
      for (std::size_t i = 0; i < one.size(); ++i) {
        EXPECT_TRUE(bit_equal(one[i], many[i])) << "output " << i << ", " << threads << " threads, " << name_of(dtype);
      }
    }
  }
  omp_set_num_threads(before);
}

TEST_P(Kernels, WriteEveryElementInBothPrecisions) {
  for (const Size& size : {kSmall, kLarge}) {
    const std::vector<Tensor> exact = GetParam().run(size, DType::kF64), single = GetParam().run(size, DType::kF32);
    for (std::size_t i = 0; i < exact.size(); ++i) {
      // An element left unwritten is NaN, and then the error is infinite.
      EXPECT_LT(largest_error(values_of(single[i]), values_of(exact[i])), kKernelF32) << "output " << i;
      EXPECT_GT(exact[i].numel(), 0);
    }
  }
}

TEST_P(Kernels, EmptyTensorsAreNoTrouble) {
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    for (const Tensor& out : GetParam().run(kEmpty, dtype)) {
      for (const double value : values_of(out)) EXPECT_TRUE(std::isfinite(value));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Kernels, testing::ValuesIn(all_cases()),
                         [](const testing::TestParamInfo<Case>& given) { return given.param.name; });

}  // namespace
}  // namespace wt::kernels
