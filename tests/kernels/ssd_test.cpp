// Mamba-2's scan against the recurrence in plain double loops, forward and backward, and any cut of a text into pieces
// against the whole.
#include "kernels/ssd.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/flops_cpu.h"
#include "tests/kernels/texts.h"
#include "tests/support/expect_error.h"
#include "tests/support/tolerances.h"

namespace wt::kernels {
namespace {

// Double sums in another order.
constexpr double kRounding = 1e-12;
constexpr DType kF64 = DType::kF64;
using Values = std::vector<double>;
const Stream kStream;

// What a scan is given and what its backward is: of a whole text, or of the pieces put together.
struct Scan {
  SsdShape shape;
  Tensor xbc, dt, s;
  SsdWeights weights;
  Tensor dy, ds_out;
};
struct ScanResult {
  Tensor y, s_out, dxbc, ddt, ds;
  SsdWeights dweights;
  std::vector<Tensor> all() const { return {y, s_out, dxbc, ddt, ds, dweights.a_log, dweights.d, dweights.dt_bias}; }
};

// A from -0.01 to -1000, and steps of which many meet a limit.
Scan make_scan(const Texts& texts, const SsdShape& shape, DType dtype) {
  const std::int64_t g = texts.g, b = texts.b, t = texts.longest(), h = shape.heads;
  Scan scan{shape,
            normal_tensor({g, b, t, shape.columns()}, 1, dtype),
            normal_tensor({g, b, t, h}, 2, dtype),
            normal_tensor({g, b, h, shape.width, shape.state}, 3, dtype),
            {normal_tensor({g, h}, 4, dtype), normal_tensor({g, h}, 5, dtype), normal_tensor({g, h}, 6, dtype)},
            normal_tensor({g, b, t, shape.inner()}, 7, dtype),
            normal_tensor({g, b, h, shape.width, shape.state}, 8, dtype)};
  std::vector<float> a_log;
  for (std::int64_t i = 0; i < g * h; ++i) {
    a_log.push_back(std::log(std::vector<float>{1, 0.01f, 200, 1000, 0.3f}[at(i % 5)]));
  }
  scan.weights.a_log = Tensor::from<float>({g, h}, a_log).to(kStream, dtype);
  return scan;
}

ScanResult zero_result(const Scan& scan) {
  const auto zeros = [&](const Tensor& like) { return Tensor::zeros(kStream, like.shape(), like.dtype()); };
  return {zeros(scan.dy),
          scan.s.clone(kStream),
          zeros(scan.xbc),
          zeros(scan.dt),
          scan.ds_out.clone(kStream),
          {zeros(scan.weights.a_log), zeros(scan.weights.d), zeros(scan.weights.dt_bias)}};
}

// The recurrence and its derivative, row by row.
ScanResult by_recurrence(const Texts& texts, const Scan& scan) {
  const SsdShape& shape = scan.shape;
  const std::int64_t t = texts.longest(), h = shape.heads, p = shape.width, n = shape.state, e = shape.columns();
  ScanResult out = zero_result(scan);
  for (std::int64_t cell = 0; cell < texts.cells(); ++cell) {
    for (std::int64_t head = 0; head < h; ++head) {
      const std::int64_t w = cell / texts.b * h + head, group = head / (h / shape.groups),
                         length = texts.lengths[at(cell)];
      const double a = -std::exp(scan.weights.a_log.data<double>()[w]), d = scan.weights.d.data<double>()[w];
      const auto column = [&](const Tensor& x, std::int64_t i, std::int64_t of) {
        return x.data<double>() + (cell * t + i) * e + of;
      };
      const std::int64_t of_x = head * p, of_b = h * p + group * n, of_c = h * p + (shape.groups + group) * n;
      const auto open = [&](std::int64_t i) {
        const double v = scan.dt.data<double>()[(cell * t + i) * h + head] + scan.weights.dt_bias.data<double>()[w];
        return std::pair{std::log1p(std::exp(v)), 1 / (1 + std::exp(-v))};
      };
      double* const state = out.s_out.data<double>() + (cell * h + head) * p * n;
      std::vector<Values> states{Values(state, state + p * n)};
      for (std::int64_t i = 0; i < length; ++i) {
        const double delta = std::clamp(open(i).first, shape.least, shape.most);
        const double *x = column(scan.xbc, i, of_x), *b = column(scan.xbc, i, of_b), *c = column(scan.xbc, i, of_c);
        for (std::int64_t j = 0; j < p; ++j) {
          double& y = out.y.data<double>()[((cell * t + i) * h + head) * p + j];
          y = d * x[j];
          for (std::int64_t k = 0; k < n; ++k) {
            double& s = state[j * n + k];
            s = std::exp(a * delta) * s + delta * x[j] * b[k];
            y += s * c[k];
          }
        }
        states.emplace_back(state, state + p * n);
      }
      double* const ds = out.ds.data<double>() + (cell * h + head) * p * n;
      for (std::int64_t i = length - 1; i >= 0; --i) {
        const auto [step, sigmoid] = open(i);
        const double delta = std::clamp(step, shape.least, shape.most);
        const double *x = column(scan.xbc, i, of_x), *b = column(scan.xbc, i, of_b), *c = column(scan.xbc, i, of_c);
        double *dx = column(out.dxbc, i, of_x), *db = column(out.dxbc, i, of_b), *dc = column(out.dxbc, i, of_c);
        double dalpha = 0, ddelta = 0;
        for (std::int64_t j = 0; j < p; ++j) {
          const double dy = scan.dy.data<double>()[((cell * t + i) * h + head) * p + j];
          out.dweights.d.data<double>()[w] += dy * x[j];
          dx[j] += d * dy;
          for (std::int64_t k = 0; k < n; ++k) {
            double& grad = ds[j * n + k];
            dc[k] += dy * states[at(i + 1)][at(j * n + k)];
            grad += dy * c[k];
            dx[j] += delta * grad * b[k];
            db[k] += delta * grad * x[j];
            ddelta += grad * x[j] * b[k];
            grad *= std::exp(a * delta);
            dalpha += grad * states[at(i)][at(j * n + k)];
          }
        }
        const double ddt = (ddelta + a * dalpha) * (step >= shape.least && step <= shape.most ? sigmoid : 0);
        out.ddt.data<double>()[(cell * t + i) * h + head] = ddt;
        out.dweights.dt_bias.data<double>()[w] += ddt;
        out.dweights.a_log.data<double>()[w] += a * delta * dalpha;
      }
    }
  }
  return out;
}

// Piece after piece, and back; states and their gradients in place.
ScanResult in_pieces(const Texts& texts, const Scan& scan, const std::vector<std::int64_t>& pieces) {
  ScanResult out = zero_result(scan);
  std::vector<Tensor> states;
  std::int64_t first = 0;
  for (const std::int64_t count : pieces) {
    const Cells cells = cells_of(texts, first, count);
    const Tensor y = poisoned({texts.g, texts.b, count, scan.shape.inner()}, scan.dy.dtype());
    states.push_back(out.s_out.clone(kStream));
    ssd_forward(kStream, rows_of(texts, scan.xbc, first, count), rows_of(texts, scan.dt, first, count), scan.weights,
                scan.shape, out.s_out, cells, y, out.s_out);
    put_rows_of(texts, y, first, out.y);
    first += count;
  }
  for (std::size_t i = pieces.size(); i-- > 0;) {
    first -= pieces[i];
    const Tensor xbc = rows_of(texts, scan.xbc, first, pieces[i]), dt = rows_of(texts, scan.dt, first, pieces[i]);
    const Tensor dxbc = poisoned(xbc.shape(), xbc.dtype()), ddt = poisoned(dt.shape(), dt.dtype());
    ssd_backward(kStream, rows_of(texts, scan.dy, first, pieces[i]), xbc, dt, scan.weights, scan.shape, states[i],
                 cells_of(texts, first, pieces[i]), out.ds, dxbc, ddt, out.dweights, out.ds);
    put_rows_of(texts, dxbc, first, out.dxbc);
    put_rows_of(texts, ddt, first, out.ddt);
  }
  return out;
}

const char* const kScanNames[] = {"y", "s_out", "dxbc", "ddt", "ds", "da_log", "dd", "ddt_bias"};

void expect_close(const ScanResult& ours, const ScanResult& expected, double tolerance, const std::string& what) {
  for (std::size_t i = 0; i < expected.all().size(); ++i) {
    EXPECT_LT(largest_error(values_of(ours.all()[i]), values_of(expected.all()[i])), tolerance)
        << kScanNames[i] << " of " << what;
  }
}

// Groups of one head, of more than a task has and of all; chunks of one row, of three, shorter and longer than a text,
// and longer than a block of rows; limits that bite and none.
const std::pair<Texts, SsdShape> kScans[] = {
    {{2, 2, {11, 7, 0, 13}}, {.heads = 5, .width = 3, .state = 2, .groups = 5, .chunk = 3}},
    {{1, 2, {13, 12}}, {.heads = 6, .width = 2, .state = 5, .groups = 2, .chunk = 1, .least = 0.3, .most = 1.1}},
    {{1, 3, {16, 1, 9}}, {.heads = 10, .width = 4, .state = 3, .groups = 1, .chunk = 8, .most = 0.9}},
    {{2, 1, {14, 13}}, {.heads = 4, .width = 1, .state = 6, .groups = 1, .chunk = 64, .least = 0.05}},
};

TEST(Ssd, AnyCutOfATextIsTheRecurrence) {
  for (const auto& [texts, shape] : kScans) {
    const Scan scan = make_scan(texts, shape, kF64);
    const ScanResult expected = by_recurrence(texts, scan);
    for (const auto& pieces : all_cuts(texts.longest())) {
      expect_close(in_pieces(texts, scan, pieces), expected, kRounding,
                   cat(shape.heads, " heads in ", pieces.size(), " pieces"));
    }
  }
}

TEST(Ssd, ChunksOfAnyLengthAreTheRecurrence) {
  const Texts texts{1, 2, {150, 141}};
  for (const std::int64_t chunk : {1, 2, 3, 5, 64, 65, 100, 129, 150, 400}) {
    const SsdShape shape{.heads = 5, .width = 4, .state = 3, .groups = 1, .chunk = chunk};
    const Scan scan = make_scan(texts, shape, kF64);
    expect_close(in_pieces(texts, scan, {150}), by_recurrence(texts, scan), kRounding, cat("chunks of ", chunk));
  }
}

TEST(Ssd, SinglePrecisionStaysCloseWithAnyDecay) {
  const Texts texts{1, 2, {300, 280}};
  for (const std::int64_t chunk : {16, 64, 256}) {
    const SsdShape shape{.heads = 5, .width = 8, .state = 16, .groups = 1, .chunk = chunk};
    const ScanResult exact = by_recurrence(texts, make_scan(texts, shape, kF64));
    expect_close(in_pieces(texts, make_scan(texts, shape, DType::kF32), {300}), exact, kKernelF32,
                 cat("chunks of ", chunk));
  }
}

TEST(Ssd, WhatNobodyWantsIsNotWritten) {
  const auto& [texts, shape] = kScans[0];
  const Scan scan = make_scan(texts, shape, kF64);
  const Cells cells = cells_of(texts, 0, texts.longest());
  const Tensor none = Tensor::zeros(kStream, scan.s.shape(), kF64), ds = poisoned(scan.s.shape(), kF64);
  const Tensor dxbc = poisoned(scan.xbc.shape(), kF64), ddt = poisoned(scan.dt.shape(), kF64),
               less_xbc = poisoned(scan.xbc.shape(), kF64), less_dt = poisoned(scan.dt.shape(), kF64);
  const SsdWeights dweights = zero_result(scan).dweights;
  ssd_backward(kStream, scan.dy, scan.xbc, scan.dt, scan.weights, shape, scan.s, cells, none, dxbc, ddt, dweights, ds);
  ssd_backward(kStream, scan.dy, scan.xbc, scan.dt, scan.weights, shape, scan.s, cells, {}, less_xbc, less_dt, {}, {});
  EXPECT_TRUE(bit_equal(dxbc, less_xbc));
  EXPECT_TRUE(bit_equal(ddt, less_dt));
  for (std::int64_t i = 0; i < 5 * 3 * 2; ++i) EXPECT_EQ(ds.data<double>()[2 * 5 * 3 * 2 + i], 0);  // an inactive cell
}

TEST(Ssd, ProductsAreCounted) {
  const Texts texts{1, 3, {16, 1, 9}};
  const SsdShape shape{.heads = 6, .width = 4, .state = 3, .groups = 2, .chunk = 8};
  const Scan scan = make_scan(texts, shape, kF64);
  const std::int64_t before = cpu::product_flops(), state = 6 * 4 * 3, pairs = 8 * 8 + 8 * 8 + 1 + 8 * 8 + 1;
  in_pieces(texts, scan, {16});
  // Forward: c bᵀ and M X; two products with states. Backward: c bᵀ, what comes of its gradient; dM, Mᵀ dy; four with
  // states, and the states at the starts of two chunks again.
  const std::int64_t forward = pairs * (2 * 3 + 6 * 4) + 2 * 26 * 2 * state;
  const std::int64_t backward = pairs * (3 * 2 * 3 + 2 * 6 * 4) + 2 * (26 * 4 + 2 * 8) * state;
  EXPECT_EQ(cpu::product_flops() - before, forward + backward);
}

TEST(Ssd, WhatHasDecayedIsZero) {
  // Not subnormal: with such numbers every operation takes a hundred times as long.
  const Texts texts{1, 1, {70}};
  const SsdShape shape{.heads = 5, .width = 2, .state = 3, .groups = 1, .chunk = 16, .least = 0.5, .most = 0.5};
  Scan scan = make_scan(texts, shape, DType::kF32);
  for (const Tensor* t : {&scan.xbc, &scan.s, &scan.dy, &scan.ds_out}) {
    for (std::int64_t i = 0; i < t->numel(); ++i) t->data<float>()[i] *= 3e-19f;
  }
  const auto subnormals = [](const ScanResult& result) {
    int count = 0;
    for (const Tensor& t : result.all()) {
      for (const float value : t.to_vector<float>()) count += std::fpclassify(value) == FP_SUBNORMAL ? 1 : 0;
    }
    return count;
  };
  for (const auto& pieces : {std::vector<std::int64_t>{70}, std::vector<std::int64_t>(70, 1)}) {
    const ScanResult result = in_pieces(texts, scan, pieces);
    EXPECT_EQ(subnormals(result), 0);
    EXPECT_GT(std::abs(values_of(result.s_out)[0]), 0);
  }
  const float smallest = std::numeric_limits<float>::min();
  volatile float half = 0.5f;
  EXPECT_GT(smallest * half, 0);  // here they are numbers still
}

TEST(Ssd, BadShapesAreRefused) {
  const SsdShape shape{.heads = 4, .width = 3, .state = 2, .groups = 2};
  const Tensor xbc = normal_tensor({1, 2, 3, 20}, 1, kF64), dt = normal_tensor({1, 2, 3, 4}, 2, kF64),
               s = normal_tensor({1, 2, 4, 3, 2}, 3, kF64), y = normal_tensor({1, 2, 3, 12}, 4, kF64),
               h = normal_tensor({1, 4}, 5, kF64), wrong = normal_tensor({1, 3}, 6, kF64);
  const SsdWeights weights{h, h, h};
  const Cells cells = cells_of({1, 2, {3, 2}}, 0, 3);
  const auto forward = [&](const SsdShape& given) { ssd_forward(kStream, xbc, dt, weights, given, s, cells, y, s); };
  forward(shape);
  EXPECT_ERROR(forward({.heads = 4, .width = 3, .state = 2, .groups = 3}), Error,
               "ssd: 4 heads do not divide into 3 groups");
  EXPECT_ERROR(forward({.heads = 4, .width = 3, .state = 2, .groups = 0}), Error, "into 0 groups");
  EXPECT_ERROR(forward({.heads = 0, .width = 3, .state = 2}), Error, "ssd: 0 heads of width 3, state 2, chunks of 64");
  EXPECT_ERROR(forward({.heads = 4, .width = 3, .state = 2, .groups = 2, .chunk = 0}), Error, "chunks of 0 rows");
  EXPECT_ERROR(forward({.heads = 4, .width = 3, .state = 2, .groups = 2, .least = 2, .most = 1}), Error,
               "ssd: limits of the step are 2 and 1");
  EXPECT_ERROR(forward({.heads = 4, .width = 3, .state = 4, .groups = 2}), Error,
               "ssd: xbc is [1,2,3,20], expected [1,2,3,28]");
  EXPECT_ERROR(ssd_forward(kStream, xbc.select(0), dt, weights, shape, s, cells, y, s), Error,
               "ssd: xbc is f64[2,3,20], expected (G, B, T, E)");
  EXPECT_ERROR(ssd_forward(kStream, xbc, y, weights, shape, s, cells, y, s), Error, "ssd: dt is [1,2,3,12]");
  EXPECT_ERROR(ssd_forward(kStream, xbc, dt, {wrong, h, h}, shape, s, cells, y, s), Error,
               "ssd: weights.a_log is [1,3]");
  EXPECT_ERROR(ssd_forward(kStream, xbc, dt, {h, wrong, h}, shape, s, cells, y, s), Error, "ssd: weights.d is [1,3]");
  EXPECT_ERROR(ssd_forward(kStream, xbc, dt, {h, h, wrong}, shape, s, cells, y, s), Error, "ssd: weights.dt_bias");
  EXPECT_ERROR(ssd_forward(kStream, xbc, dt, weights, shape, h, cells, y, s), Error, "ssd: s is [1,4]");
  EXPECT_ERROR(ssd_forward(kStream, xbc, dt, weights, shape, s, cells, dt, s), Error, "ssd: y is [1,2,3,4]");
  EXPECT_ERROR(ssd_forward(kStream, xbc, dt, weights, shape, s, cells, y, h), Error, "ssd: s_out");
  EXPECT_ERROR(ssd_forward(kStream, xbc, dt, weights, shape, s, cells_of({2, 1, {3, 2}}, 0, 3), y, s), Error,
               "ssd: cells.flags is [2,1]");
  const auto backward = [&](const Tensor& dy, const Tensor& ds_out, const Tensor& dxbc, const Tensor& ddt,
                            const SsdWeights& dweights, const Tensor& ds) {
    ssd_backward(kStream, dy, xbc, dt, weights, shape, s, cells, ds_out, dxbc, ddt, dweights, ds);
  };
  const Tensor dxbc = xbc.clone(kStream), ddt = dt.clone(kStream);
  backward(y, {}, dxbc, ddt, {}, {});
  EXPECT_ERROR(backward(dt, {}, dxbc, ddt, {}, {}), Error, "ssd backward: dy is [1,2,3,4]");
  EXPECT_ERROR(backward(y, h, dxbc, ddt, {}, {}), Error, "ssd backward: ds_out");
  EXPECT_ERROR(backward(y, {}, y, ddt, {}, {}), Error, "ssd backward: dxbc is [1,2,3,12]");
  EXPECT_ERROR(backward(y, {}, xbc, ddt, {}, {}), Error, "ssd backward: dxbc lies in xbc or dy");
  EXPECT_ERROR(backward(y, {}, dxbc, y, {}, {}), Error, "ssd backward: ddt");
  EXPECT_ERROR(backward(y, {}, dxbc, ddt, {wrong, {}, {}}, {}), Error, "ssd backward: dweights.a_log");
  EXPECT_ERROR(backward(y, {}, dxbc, ddt, {{}, wrong, {}}, {}), Error, "ssd backward: dweights.d");
  EXPECT_ERROR(backward(y, {}, dxbc, ddt, {{}, {}, wrong}, {}), Error, "ssd backward: dweights.dt_bias");
  EXPECT_ERROR(backward(y, {}, dxbc, ddt, {}, h), Error, "ssd backward: ds is");
}

}  // namespace
}  // namespace wt::kernels
