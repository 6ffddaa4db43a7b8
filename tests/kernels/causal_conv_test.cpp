// The causal convolution against its definition in plain double loops, forward and backward, and any cut of a text into
// pieces against the whole.
#include "kernels/causal_conv.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/texts.h"
#include "tests/support/expect_error.h"

namespace wt::kernels {
namespace {

// Double sums in another order.
constexpr double kRounding = 1e-12;
constexpr DType kF64 = DType::kF64;
using Values = std::vector<double>;
const Stream kStream;

// The convolution in a block of columns of a wider matrix, in pieces, and back.
struct Conv {
  Tensor x, w, bias, tail, dy, dtail_out;
};
struct ConvResult {
  Tensor y, tail_out, dx, dw, dbias, dtail;
  std::vector<Tensor> all() const { return {y, tail_out, dx, dw, dbias, dtail}; }
};
constexpr std::int64_t kBefore = 2, kBehind = 1;  // columns beside the block's

ConvResult zero_result(const Conv& conv) {
  const auto zeros = [&](const Tensor& like) { return Tensor::zeros(kStream, like.shape(), like.dtype()); };
  return {zeros(conv.dy),
          conv.tail.clone(kStream),
          zeros(conv.x),
          zeros(conv.w),
          conv.bias.defined() ? zeros(conv.bias) : Tensor{},
          conv.dtail_out.clone(kStream)};
}

ConvResult by_definition(const Texts& texts, const Conv& conv) {
  const std::int64_t t = texts.longest(), e = conv.w.dim(1), k = conv.w.dim(2), width = conv.x.dim(3);
  ConvResult out = zero_result(conv);
  for (std::int64_t cell = 0; cell < texts.cells(); ++cell) {
    const std::int64_t length = texts.lengths[at(cell)], layer = cell / texts.b;
    for (std::int64_t channel = 0; channel < e; ++channel) {
      const double* const w = conv.w.data<double>() + (layer * e + channel) * k;
      Values full, grads(at(length + k - 1), 0);
      for (std::int64_t i = 0; i < length + k - 1; ++i) {
        full.push_back(i < k - 1 ? conv.tail.data<double>()[(cell * (k - 1) + i) * e + channel]
                                 : conv.x.data<double>()[(cell * t + i - k + 1) * width + kBefore + channel]);
      }
      for (std::int64_t i = 0; i < length; ++i) {
        double sum = conv.bias.defined() ? conv.bias.data<double>()[layer * e + channel] : 0;
        for (std::int64_t j = 0; j < k; ++j) sum += w[j] * full[at(i + j)];
        const double sigmoid = 1 / (1 + std::exp(-sum));
        out.y.data<double>()[(cell * t + i) * e + channel] = sum * sigmoid;
        const double grad = conv.dy.data<double>()[(cell * t + i) * e + channel] * sigmoid * (1 + sum * (1 - sigmoid));
        if (conv.bias.defined()) out.dbias.data<double>()[layer * e + channel] += grad;
        for (std::int64_t j = 0; j < k; ++j) {
          out.dw.data<double>()[(layer * e + channel) * k + j] += grad * full[at(i + j)];
          grads[at(i + j)] += grad * w[j];
        }
      }
      for (std::int64_t i = 0; i < k - 1; ++i) {
        const std::int64_t place = (cell * (k - 1) + i) * e + channel;
        out.tail_out.data<double>()[place] = full[at(length + i)];
        grads[at(length + i)] += conv.dtail_out.data<double>()[place];
      }
      for (std::int64_t i = 0; i < length + k - 1; ++i) {
        if (i < k - 1) {
          out.dtail.data<double>()[(cell * (k - 1) + i) * e + channel] = grads[at(i)];
        } else {
          out.dx.data<double>()[(cell * t + i - k + 1) * width + kBefore + channel] = grads[at(i)];
        }
      }
    }
  }
  return out;
}

ConvResult in_pieces(const Texts& texts, const Conv& conv, const std::vector<std::int64_t>& pieces) {
  const std::int64_t e = conv.w.dim(1), width = conv.x.dim(3);
  ConvResult out = zero_result(conv);
  std::vector<Tensor> tails;
  std::int64_t first = 0;
  for (const std::int64_t count : pieces) {
    const Tensor y = poisoned({texts.g, texts.b, count, e}, conv.x.dtype());
    tails.push_back(out.tail_out.clone(kStream));
    causal_conv_forward(kStream, rows_of(texts, conv.x, first, count), kBefore, conv.w, conv.bias, out.tail_out,
                        cells_of(texts, first, count), y, out.tail_out);
    put_rows_of(texts, y, first, out.y);
    first += count;
  }
  for (std::size_t i = pieces.size(); i-- > 0;) {
    first -= pieces[i];
    const Tensor dx = Tensor::zeros(kStream, {texts.g, texts.b, pieces[i], width}, conv.x.dtype());
    for (std::int64_t row = 0; row < dx.numel() / width; ++row) {  // the block's columns: garbage
      std::memset(dx.data<double>() + row * width + kBefore, 0xff, static_cast<std::size_t>(e) * sizeof(double));
    }
    causal_conv_backward(kStream, rows_of(texts, conv.dy, first, pieces[i]), rows_of(texts, conv.x, first, pieces[i]),
                         kBefore, conv.w, conv.bias, tails[i], cells_of(texts, first, pieces[i]), out.dtail, dx, out.dw,
                         out.dbias, out.dtail);
    put_rows_of(texts, dx, first, out.dx);
  }
  return out;
}

TEST(CausalConv, AnyCutOfATextIsTheDefinition) {
  const char* const names[] = {"y", "tail_out", "dx", "dw", "dbias", "dtail"};
  const Texts texts{2, 2, {11, 7, 0, 13}};
  // One block of channels and several.
  for (const std::int64_t e : {3, 300}) {
    for (const std::int64_t k : {2, 3, 4, 7}) {
      Conv conv{normal_tensor({2, 2, 13, kBefore + e + kBehind}, 1, kF64),
                normal_tensor({2, e, k}, 2, kF64),
                normal_tensor({2, e}, 3, kF64),
                normal_tensor({2, 2, k - 1, e}, 4, kF64),
                normal_tensor({2, 2, 13, e}, 5, kF64),
                normal_tensor({2, 2, k - 1, e}, 6, kF64)};
      for (const bool with_bias : {true, false}) {
        if (!with_bias) conv.bias = {};
        const ConvResult expected = by_definition(texts, conv);
        for (const auto& pieces : all_cuts(13)) {
          const ConvResult ours = in_pieces(texts, conv, pieces);
          for (std::size_t i = 0; i < ours.all().size(); ++i) {
            if (!ours.all()[i].defined()) continue;
            EXPECT_LT(largest_error(values_of(ours.all()[i]), values_of(expected.all()[i])), kRounding)
                << names[i] << " with K " << k << " in " << pieces.size() << " pieces";
          }
        }
      }
    }
  }
}

TEST(CausalConv, BadShapesAreRefused) {
  const Tensor x = normal_tensor({1, 2, 3, 7}, 1, kF64), w = normal_tensor({1, 5, 4}, 2, kF64),
               bias = normal_tensor({1, 5}, 3, kF64), tail = normal_tensor({1, 2, 3, 5}, 4, kF64),
               y = normal_tensor({1, 2, 3, 5}, 5, kF64), dx = x.clone(kStream);
  const Cells cells = cells_of({1, 2, {3, 2}}, 0, 3);
  const auto forward = [&](std::int64_t column, const Tensor& weight, const Tensor& shift, const Tensor& before,
                           const Tensor& out, const Tensor& after) {
    causal_conv_forward(kStream, x, column, weight, shift, before, cells, out, after);
  };
  forward(2, w, bias, tail, y, tail);
  EXPECT_ERROR(forward(3, w, bias, tail, y, tail), Error, "causal_conv: columns [3,8) of 7");
  EXPECT_ERROR(forward(-1, w, bias, tail, y, tail), Error, "causal_conv: columns [-1,4) of 7");
  EXPECT_ERROR(forward(0, bias, bias, tail, y, tail), Error, "causal_conv: x is f64[1,2,3,7], w is f64[1,5]");
  EXPECT_ERROR(forward(0, normal_tensor({1, 5, 1}, 1, kF64), bias, tail, y, tail), Error, "with K >= 2");
  EXPECT_ERROR(forward(0, normal_tensor({2, 5, 4}, 1, kF64), bias, tail, y, tail), Error,
               "causal_conv: w is [2,5,4], expected [1,5,4]");
  EXPECT_ERROR(forward(0, w, w, tail, y, tail), Error, "causal_conv: bias");
  EXPECT_ERROR(forward(0, w, bias, w, y, tail), Error, "causal_conv: tail is [1,5,4], expected [1,2,3,5]");
  EXPECT_ERROR(forward(0, w, bias, tail, x, tail), Error, "causal_conv: y is [1,2,3,7]");
  EXPECT_ERROR(forward(0, w, bias, tail, y, bias), Error, "causal_conv: tail_out");
  const auto backward = [&](const Tensor& dy, const Tensor& after, const Tensor& to_x, const Tensor& dw,
                            const Tensor& shift, const Tensor& dbias, const Tensor& dtail) {
    causal_conv_backward(kStream, dy, x, 1, w, shift, tail, cells, after, to_x, dw, dbias, dtail);
  };
  backward(y, tail, dx, {}, bias, {}, {});
  EXPECT_ERROR(backward(x, tail, dx, {}, bias, {}, {}), Error, "causal_conv backward: dy is [1,2,3,7]");
  EXPECT_ERROR(backward(y, bias, dx, {}, bias, {}, {}), Error, "causal_conv backward: dtail_out");
  EXPECT_ERROR(backward(y, {}, y, {}, bias, {}, {}), Error, "causal_conv backward: dx is [1,2,3,5]");
  EXPECT_ERROR(backward(y, {}, x, {}, bias, {}, {}), Error, "causal_conv backward: dx lies in dy or x");
  EXPECT_ERROR(backward(y, {}, dx, bias, bias, {}, {}), Error, "causal_conv backward: dw");
  EXPECT_ERROR(backward(y, {}, dx, {}, bias, w, {}), Error, "causal_conv backward: dbias");
  EXPECT_ERROR(backward(y, {}, dx, {}, {}, bias, {}), Error, "a gradient of a bias that is not there");
  EXPECT_ERROR(backward(y, {}, dx, {}, bias, {}, bias), Error, "causal_conv backward: dtail is");
}

}  // namespace
}  // namespace wt::kernels
