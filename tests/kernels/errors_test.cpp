// Shapes and values that do not fit are one-line errors that name the operation.
#include <gtest/gtest.h>

#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/add_norm.h"
#include "kernels/attention.h"
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

const Stream s;
constexpr DType kF32 = DType::kF32;
Tensor f(const Shape& shape) {
  return normal_tensor(shape, 1, kF32);
}

TEST(KernelErrors, Linear) {
  const WeightLayout out_in = WeightLayout::kOutIn, in_out = WeightLayout::kInOut;
  EXPECT_ERROR(linear_forward(s, f({3, 2, 4}), f({4, 5, 4}), out_in, {}, {}, f({3, 2, 5})), Error,
               "linear: w is [4,5,4], expected [3,5,4]");
  EXPECT_ERROR(linear_forward(s, f({3, 2, 4}), f({3, 5, 4}), in_out, {}, {}, f({3, 2, 5})), Error, "expected [3,4,5]");
  EXPECT_ERROR(linear_forward(s, f({6, 4}), f({3, 5, 4}), out_in, {}, {}, f({3, 2, 5})), Error,
               "linear: x is f32[6,4]");
  EXPECT_ERROR(linear_forward(s, f({3, 2, 4}), f({3, 5, 4}), out_in, f({3, 4}), {}, f({3, 2, 5})), Error,
               "linear: bias");
  EXPECT_ERROR(linear_forward(s, f({3, 2, 4}), f({3, 5, 4}), out_in, {}, f({3, 2, 4}), f({3, 2, 5})), Error,
               "residual");
  EXPECT_ERROR(linear_forward(s, f({1, 2, 4}), normal_tensor({1, 5, 4}, 1, DType::kF64), out_in, {}, {}, f({1, 2, 5})),
               Error, "linear: dtypes differ");
  EXPECT_ERROR(linear_backward_input(s, f({1, 2, 5}), f({1, 5, 4}), out_in, f({1, 2, 3}), GradMode::kOverwrite), Error,
               "linear backward: ");
  EXPECT_ERROR(linear_backward_weight(s, f({1, 2, 5}), f({1, 3, 4}), out_in, f({1, 5, 4})), Error, "linear backward: ");
  EXPECT_ERROR(linear_backward_bias(s, f({1, 2, 5}), f({1, 4})), Error, "linear backward: dbias is [1,4]");
}

TEST(KernelErrors, DTypesThatCannotBeComputedWith) {
  const Tensor half = f({1, 2, 4}).to(s, DType::kBF16), weight = f({1, 5, 4}).to(s, DType::kBF16),
               out = f({1, 2, 5}).to(s, DType::kBF16);
  EXPECT_ERROR(linear_forward(s, half, weight, WeightLayout::kOutIn, {}, {}, out), Error, "expected f32 or f64");
  EXPECT_ERROR(rms_norm_forward(s, half, f({1, 4}), 0, half, f({1, 2})), Error, "expected f32 or f64");
  EXPECT_ERROR(rms_norm_forward(s, f({1, 2, 4}), normal_tensor({1, 4}, 1, DType::kF64), 0, f({1, 2, 4}), f({1, 2})),
               Error, "tensor [1,4] is f64, expected f32");
}

TEST(KernelErrors, Norms) {
  const Tensor x = f({3, 2, 4});
  EXPECT_ERROR(rms_norm_forward(s, x, f({4, 4}), 0, x, f({3, 2})), Error,
               "rms_norm: w is [4,4], expected [3,4] (g, d)");
  EXPECT_ERROR(rms_norm_forward(s, x, f({3, 4}), 0, f({3, 4, 2}), f({3, 2})), Error, "rms_norm: y");
  EXPECT_ERROR(rms_norm_forward(s, x, f({3, 4}), 0, x, f({3})), Error, "rms_norm: rstd");
  EXPECT_ERROR(rms_norm_backward(s, x, x, f({3, 4}), f({3, 2}), f({3, 1, 4}), GradMode::kOverwrite, {}), Error,
               "rms_norm backward: dx");
  EXPECT_ERROR(rms_norm_backward(s, x, x, f({3, 4}), f({3, 2}), {}, GradMode::kSkip, f({2, 4})), Error, "backward: dw");
  EXPECT_ERROR(layer_norm_forward(s, x, f({3, 4}), f({3, 5}), 0, x, f({3, 2}), f({3, 2})), Error,
               "layer_norm: b is [3,5]");
  EXPECT_ERROR(layer_norm_forward(s, x, f({3, 4}), f({3, 4}), 0, x, f({2, 2}), f({3, 2})), Error, "layer_norm: mean");
  EXPECT_ERROR(layer_norm_backward(s, x, x, f({3, 4}), f({3, 2}), f({3, 2}), {}, GradMode::kSkip, f({3, 4}), {}), Error,
               "layer_norm backward: dw and db go together");
  EXPECT_ERROR(layer_norm_backward(s, x, x, f({3, 4}), f({3, 2}), f({3, 2}), {}, GradMode::kSkip, f({3, 4}), f({3, 1})),
               Error, "layer_norm backward: db");
}

TEST(KernelErrors, NormsInAnotherOrder) {
  const Tensor x = f({3, 2, 4}), y = f({3, 2, 4}), w = f({3, 4}), row = f({3, 2});
  const auto order = [](const std::vector<std::int32_t>& places) {
    return integers({static_cast<std::int64_t>(places.size())}, places);
  };
  EXPECT_ERROR(rms_norm_forward(s, x, w, 0, y, row, order({0, 1})), Error,
               "rms_norm: order is i32[2], expected i32[3]");
  EXPECT_ERROR(rms_norm_forward(s, x, w, 0, y, row, row), Error, "rms_norm: order is f32[3,2]");
  EXPECT_ERROR(rms_norm_forward(s, x, w, 0, y, row, order({0, 3, 1})), Error,
               "rms_norm: place 3 in an order of 3 layers");
  EXPECT_ERROR(rms_norm_forward(s, x, w, 0, y, row, order({0, 1, 0})), Error,
               "rms_norm: place 0 is given to two layers");
  EXPECT_ERROR(rms_norm_forward(s, x, w, 0, x, row, order({0, 2, 1})), Error, "y lies in x, and in another order");
  EXPECT_ERROR(rms_norm_backward(s, x, y, w, row, x, GradMode::kOverwrite, {}, order({0, 2, 1})), Error,
               "rms_norm backward: dx lies in dy");
  EXPECT_ERROR(layer_norm_forward(s, x, w, w, 0, y, row, row, order({-1, 2, 1})), Error, "layer_norm: place -1");
  EXPECT_ERROR(layer_norm_forward(s, x, w, w, 0, x, row, row, order({0, 2, 1})), Error, "layer_norm: y lies in x");
  EXPECT_ERROR(layer_norm_backward(s, x, y, w, row, row, x, GradMode::kOverwrite, {}, {}, order({0})), Error,
               "layer_norm backward: order is i32[1]");
}

TEST(KernelErrors, AddNorm) {
  const Tensor x = f({3, 2, 4}), delta = f({3, 2, 4}), h = f({3, 2, 4}), n = f({3, 2, 4}), w = f({3, 4}),
               row = f({3, 2});
  const GradMode adds = GradMode::kAccumulate;
  EXPECT_ERROR(add_rms_norm_forward(s, x, f({3, 1, 4}), {}, w, 0, h, n, row), Error, "add_norm: delta is [3,1,4]");
  EXPECT_ERROR(add_rms_norm_forward(s, x, delta, integers({3}, {0, 0, 1}), w, 0, h, n, row), Error,
               "add_norm: place 0 is given to two layers");
  EXPECT_ERROR(add_rms_norm_forward(s, x, delta, integers({2}, {0, 1}), w, 0, h, n, row), Error,
               "add_norm: order is i32[2], expected i32[3]");
  EXPECT_ERROR(add_rms_norm_forward(s, x, delta, {}, f({3, 3}), 0, h, n, row), Error, "add_norm: w");
  EXPECT_ERROR(add_rms_norm_forward(s, x, delta, {}, w, 0, delta, n, row), Error, "add_norm: outputs share memory");
  EXPECT_ERROR(add_rms_norm_forward(s, x, delta, {}, w, 0, h, x, row), Error, "add_norm: outputs share memory");
  EXPECT_ERROR(add_layer_norm_forward(s, x, delta, {}, w, f({3, 3}), 0, h, n, row, row), Error, "add_norm: b");
  EXPECT_ERROR(add_rms_norm_backward(s, n, h, w, row, {}, {}, GradMode::kSkip, {}, {}), Error, "add_norm backward: dh");
  EXPECT_ERROR(add_rms_norm_backward(s, n, h, w, row, {}, x, adds, {}, x), Error, "ddelta shares memory with dh");
  EXPECT_ERROR(add_rms_norm_backward(s, n, h, w, row, {}, x, adds, f({1, 4}), {}), Error, "add_norm backward: dw");
  EXPECT_ERROR(add_layer_norm_backward(s, n, h, w, row, row, {}, x, adds, w, {}, {}), Error, "dw and db go together");
}

TEST(KernelErrors, Activations) {
  EXPECT_ERROR(swiglu_forward(s, f({2, 5}), f({2, 3})), Error, "swiglu: gate_up is f32[2,5], out is f32[2,3]");
  EXPECT_ERROR(swiglu_backward(s, f({2, 3}), f({2, 6}), f({2, 5})), Error, "swiglu backward: ");
  EXPECT_ERROR(gelu_forward(s, f({2, 3}), f({3, 2})), Error, "gelu: ");
  EXPECT_ERROR(gelu_backward(s, f({2, 3}), f({2, 3}), f({3, 2})), Error, "gelu backward: ");
}

TEST(KernelErrors, Attention) {
  const AttentionHeads heads{4, 2, 3};
  const Tensor qkv = f({1, 1, 2, 24});
  EXPECT_ERROR(attention_forward(s, qkv, {4, 3, 3}, f({1, 1, 2, 12}), f({1, 1, 4, 2})), Error,
               "attention: 4 query heads do not divide into 3 key/value heads");
  EXPECT_ERROR(attention_forward(s, f({1, 1, 2, 23}), heads, f({1, 1, 2, 12}), f({1, 1, 4, 2})), Error,
               "attention: qkv is f32[1,1,2,23], expected rows of 24");
  EXPECT_ERROR(attention_forward(s, qkv, heads, f({1, 1, 2, 11}), f({1, 1, 4, 2})), Error, "attention: out");
  EXPECT_ERROR(attention_forward(s, qkv, heads, f({1, 1, 2, 12}), f({1, 1, 2, 4})), Error, "attention: lse");
  EXPECT_ERROR(attention_backward(s, f({1, 1, 1, 12}), qkv, f({1, 1, 2, 12}), f({1, 1, 4, 2}), heads, qkv), Error,
               "attention backward: dout");
  const Tensor cache = f({1, 4, 2, 3});
  EXPECT_ERROR(attention_cached(s, f({1, 2, 24}), heads, integers({1}, {3}), cache, cache, f({1, 2, 12})), Error,
               "cached attention: 5 rows in a key/value cache of 4");
  EXPECT_ERROR(attention_cached(s, f({1, 2, 24}), heads, integers({2}, {3, 3}), cache, cache, f({1, 2, 12})), Error,
               "cached attention: length");
}

TEST(KernelErrors, Rotary) {
  EXPECT_ERROR(rotary(s, f({1, 1, 3, 12}), 4, f({3, 4}), {}, false), Error, "rotary: 4 heads of width 4 in rows of 12");
  EXPECT_ERROR(rotary(s, f({1, 1, 3, 12}), 3, f({2, 4}), {}, false), Error,
               "rotary: position 2 is beyond the table of 2");
  EXPECT_ERROR(rotary(s, f({1, 2, 3, 12}), 3, f({9, 4}), integers({2}, {0, 7}), false), Error, "rotary: position 9");
  EXPECT_ERROR(rotary(s, f({1, 2, 3, 12}), 3, f({9, 4}), integers({1}, {0}), false), Error,
               "rotary: first is i32[1], expected [B=2] or [G=1, B=2]");
}

TEST(KernelErrors, CrossEntropy) {
  const Tensor right = Tensor::empty(s, {2}, DType::kU8);
  EXPECT_ERROR(cross_entropy_forward(s, f({2, 5}), integers({2}, {0, 5}), f({2}), f({2}), right), Error,
               "cross_entropy: target 5 is not in the vocabulary of 5");
  EXPECT_ERROR(cross_entropy_forward(s, f({2, 5}), integers({2}, {-1, 0}), f({2}), f({2}), right), Error, "target -1");
  EXPECT_ERROR(cross_entropy_forward(s, f({2, 5}), integers({3}, {0, 0, 0}), f({2}), f({2}), right), Error,
               "cross_entropy: target is [3]");
  EXPECT_ERROR(cross_entropy_backward(s, f({3}), f({2, 5}), integers({2}, {0, 0}), f({2}), f({2, 5})), Error,
               "cross_entropy backward: dloss");
}

TEST(KernelErrors, Dpfp) {
  EXPECT_ERROR(dpfp_forward(s, f({2, 3}), 2, f({2, 11})), Error, "dpfp: x is f32[2,3], phi f32[2,11], nu 2");
  EXPECT_ERROR(dpfp_forward(s, f({2, 3}), 6, f({2, 36})), Error, "nu below 2·d");
  EXPECT_ERROR(dpfp_forward(s, f({2, 3}), 0, f({2, 0})), Error, "dpfp: ");
  EXPECT_ERROR(dpfp_backward(s, f({2, 12}), f({2, 3}), 2, f({3, 2})), Error, "dpfp backward: dx is f32[3,2]");
}

TEST(KernelErrors, Memory) {
  const Cells cells{integers<std::uint8_t>({1, 2}, {1, 1}), integers({1, 2}, {3, 3})};
  const Tensor x = f({1, 2, 3, 4}), phi = f({1, 2, 3, 6}), a = f({1, 2, 6, 4}), z = f({1, 2, 6}), den = f({1, 2, 3});
  EXPECT_ERROR(memory_read_forward(s, x, phi, f({1, 2, 5, 4}), z, cells, x, den, {}), Error,
               "memory_read: a is [1,2,5,4], expected [1,2,6,4]");
  EXPECT_ERROR(memory_read_forward(s, x, phi, a, f({1, 2, 5}), cells, x, den, {}), Error, "memory_read: z");
  EXPECT_ERROR(memory_read_forward(s, x, f({2, 3, 6}), a, z, cells, x, den, {}), Error, "memory_read: features are");
  EXPECT_ERROR(memory_read_forward(s, x, phi, a, z, {cells.flags, integers({2}, {3, 3})}, x, den, {}), Error,
               "cells.rows");
  EXPECT_ERROR(memory_read_backward(s, x, phi, a, z, den, cells, phi, f({1, 2, 6, 3}), z, GradMode::kOverwrite), Error,
               "memory_read backward: da");
  const MemoryWrite saved{x, den, den};
  EXPECT_ERROR(memory_write_forward(s, phi, f({1, 2, 3, 5}), den, a, z, cells, true, a, z, saved, {}), Error,
               "memory_write: v is [1,2,3,5], expected [1,2,3,4]");
  EXPECT_ERROR(memory_write_forward(s, phi, x, den, a, z, cells, true, z, z, saved, {}), Error, "memory_write: a_out");
  EXPECT_ERROR(memory_write_backward(s, phi, den, a, z, saved, cells, a, z, phi, x, f({1, 2, 4})), Error,
               "memory_write backward: db");
}

TEST(KernelErrors, Embedding) {
  const Tensor table = f({5, 3}), memory = f({2, 3}), out = f({2, 3});
  const auto embed = [&](std::int32_t id, std::int32_t position) {
    embedding_forward(s, integers({2}, {0, id}), integers({2}, {0, position}), table, memory, f({4, 3}), out);
  };
  EXPECT_ERROR(embed(5, 0), Error, "embedding: token id 5 is not in the vocabulary of 5");
  EXPECT_ERROR(embed(-4, 0), Error, "embedding: memory token 2 of 2");
  EXPECT_ERROR(embed(1, 4), Error, "embedding: position 4 is not in the table of 4");
  EXPECT_ERROR(embed(1, -2), Error, "embedding: position -2");
  EXPECT_ERROR(embedding_forward(s, integers({2}, {0, 1}), {}, table, {}, {}, f({3, 3})), Error, "embedding: out");
  EXPECT_ERROR(embedding_forward(s, integers({2}, {0, -2}), {}, table, {}, {}, out), Error, "memory token 0 of 0");
  EXPECT_ERROR(embedding_backward(s, f({3, 3}), integers({2}, {0, 1}), {}, table, {}, {}), Error,
               "embedding backward: ");
}

TEST(KernelErrors, Rows) {
  const Tensor x = f({2, 4, 3});
  EXPECT_ERROR(take_rows_forward(s, x, integers({2}, {0, 3}), f({2, 2, 3})), Error, "take_rows: rows [3,5) of 4");
  EXPECT_ERROR(take_rows_forward(s, x, integers({2}, {-1, 0}), f({2, 2, 3})), Error, "take_rows: rows [-1,1) of 4");
  EXPECT_ERROR(take_rows_forward(s, x, integers({3}, {0, 0, 0}), f({2, 2, 3})), Error, "take_rows: x is");
  EXPECT_ERROR(take_rows_backward(s, f({2, 2, 3}), integers({2}, {0, 3}), x, GradMode::kOverwrite), Error,
               "take_rows backward");
  EXPECT_ERROR(gather_rows(s, x, integers({2}, {0, 8}), f({2, 3})), Error, "gather_rows: row 8 of 8");
  EXPECT_ERROR(scatter_add_rows(s, f({2, 3}), integers({2}, {0, -1}), x), Error, "scatter_add_rows: row -1 of 8");
  EXPECT_ERROR(put_rows(s, f({3, 3}), integers({2}, {0, 1}), x), Error, "put_rows: 2 rows of");
  EXPECT_ERROR(put_rows(s, f({3, 3}), integers({3}, {4, 0, 4}), x), Error, "put_rows: row 4 is named twice");
  EXPECT_ERROR(scatter_add_rows(s, f({2, 3}), integers({2}, {1, 1}), x), Error,
               "scatter_add_rows: row 1 is named twice");
  EXPECT_ERROR(add(s, f({2, 3}), f({3, 2})), Error, "add: x is f32[2,3], y is f32[3,2]");
}

TEST(KernelErrors, DropoutAndAdamW) {
  const Tensor x = f({1, 2, 3}), cell = integers<std::int64_t>({1, 2}, {0, 1});
  EXPECT_ERROR(dropout(s, x, cell, 1, {}, x), Error, "dropout: p is 1, expected 0 <= p < 1");
  EXPECT_ERROR(dropout(s, x, cell, -0.1, {}, x), Error, "dropout: p is -0.1");
  EXPECT_ERROR(dropout(s, x, integers<std::int64_t>({4}, {0, 1, 2, 3}), 0.5, {}, x), Error, "dropout: x is f32[1,2,3]");
  EXPECT_ERROR(dropout(s, x, cell, 0.5, {0, 0, 16}, x), Error, "dropout: site 16 is not below 16");
  EXPECT_ERROR(adamw(s, {}, x, x, f({6}), x, {}), Error, "adamw: w is f32[1,2,3]");
}

}  // namespace
}  // namespace wt::kernels
