// Gradient checks of the associative memory's ops. Shapes: G layers, B samples, T rows, M memory rows, D width, P
// features.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/ops/memory.h"
#include "tests/support/gradcheck.h"

namespace wt {
namespace {

using kernels::kCellActive;
using kernels::kCellFirst;

constexpr std::uint8_t kLater = kCellActive;
constexpr std::uint8_t kFirst = kCellActive | kCellFirst;
constexpr std::uint8_t kInactive = 0;

// Two layers, three samples: later, first and inactive cells side by side.
kernels::Cells mixed_cells(std::int32_t rows) {
  return {Tensor::from<std::uint8_t>({2, 3}, {kLater, kFirst, kInactive, kFirst, kLater, kLater}),
          Tensor::from<std::int32_t>({2, 3}, {rows, rows, 0, rows, rows - 1, rows})};
}

// Features and masses are not negative, and keep the denominators away from zero.
Tensor positive_tensor(const Shape& shape, std::uint64_t seed) {
  const Tensor out = random_tensor(shape, seed, 0.5, 0.1);
  for (std::int64_t i = 0; i < out.numel(); ++i) out.data<double>()[i] = std::abs(out.data<double>()[i]);
  return out;
}

TEST(MemoryOpGradients, Dpfp) {
  // Inputs stay away from the kink at zero.
  for (const std::int64_t nu : {1, 2, 3, 5}) {
    EXPECT_GRADIENTS({.inputs = {{random_tensor({2, 2, 3, 4}, 1, 1, 0.05), Contribution::kRefuses}},
                      .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                        return {ops::dpfp(ctx, x[0], nu)};
                      }});
  }
}

TEST(MemoryOpGradients, DpfpOfManyRows) {
  EXPECT_GRADIENTS(
      {.inputs = {{random_tensor({1, 1, 300, 2}, 1, 1, 0.05), Contribution::kRefuses}},
       .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> { return {ops::dpfp(ctx, x[0], 3)}; }});
}

TEST(MemoryOpGradients, Read) {
  constexpr std::int64_t kG = 2, kB = 3, kT = 4, kD = 3, kP = 5;
  const kernels::Cells cells = mixed_cells(kT);
  EXPECT_GRADIENTS({.inputs = {{random_tensor({kG, kB, kT, kD}, 1)},
                               {positive_tensor({kG, kB, kT, kP}, 2), Contribution::kRefuses},
                               {random_tensor({kG, kB, kP, kD}, 3), Contribution::kAdds, 0},
                               {positive_tensor({kG, kB, kP}, 4), Contribution::kAdds, 0}},
                    .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                      return {ops::memory_read(ctx, x[0], x[1], {x[2], x[3]}, cells, {})};
                    }});
}

TEST(MemoryOpGradients, ReadOfManyRows) {
  // More rows than one task handles.
  const kernels::Cells cells{Tensor::from<std::uint8_t>({1, 1}, {kLater}), Tensor::from<std::int32_t>({1, 1}, {150})};
  EXPECT_GRADIENTS({.inputs = {{random_tensor({1, 1, 150, 2}, 1)},
                               {positive_tensor({1, 1, 150, 3}, 2), Contribution::kRefuses},
                               {random_tensor({1, 1, 3, 2}, 3), Contribution::kAdds, 0},
                               {positive_tensor({1, 1, 3}, 4), Contribution::kAdds, 0}},
                    .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                      return {ops::memory_read(ctx, x[0], x[1], {x[2], x[3]}, cells, {})};
                    }});
}

// The write in plain loops. γ is computed where `gamma` is empty, and taken from it where not.
std::vector<Var> plain_write(const std::vector<Var>& x, const kernels::Cells& cells, bool correction,
                             std::vector<double>& gamma) {
  const Shape& s = x[0].value.shape();
  const std::int64_t num_cells = s[0] * s[1], m = s[2], p = s[3], d = x[1].value.shape()[-1];
  const bool frozen = !gamma.empty();
  const Tensor a = x[3].value.clone(Stream{}), z = x[4].value.clone(Stream{});
  for (std::int64_t cell = 0; cell < num_cells; ++cell) {
    const std::uint8_t flags = cells.flags.data<std::uint8_t>()[cell];
    const double* old_a = x[3].value.data<double>() + cell * p * d;
    const double* old_z = x[4].value.data<double>() + cell * p;
    for (std::int64_t i = 0; i < m; ++i) {
      const double* k = x[0].value.data<double>() + (cell * m + i) * p;
      const double* v = x[1].value.data<double>() + (cell * m + i) * d;
      double c = kernels::kMemoryEpsilon, norm = kernels::kMemoryEpsilon;
      for (std::int64_t f = 0; f < p; ++f) {
        c += k[f] * old_z[f];
        norm += k[f] * k[f];
      }
      const bool first = (flags & kCellFirst) != 0;
      if (!frozen) gamma.push_back(first || !correction ? 1 : std::clamp(1 - c / norm, 0.0, 1.0));
      if ((flags & kCellActive) == 0) continue;
      const double beta = 1 / (1 + std::exp(-x[2].value.data<double>()[cell * m + i]));
      for (std::int64_t j = 0; j < d; ++j) {
        double old = 0;
        for (std::int64_t f = 0; f < p; ++f) old += k[f] * old_a[f * d + j];
        const double error = v[j] - (first ? 0 : old / c);
        for (std::int64_t f = 0; f < p; ++f) a.data<double>()[(cell * p + f) * d + j] += k[f] * beta * error;
      }
      for (std::int64_t f = 0; f < p; ++f) {
        z.data<double>()[cell * p + f] += gamma[static_cast<std::size_t>(cell * m + i)] * k[f];
      }
    }
  }
  return {a, z};
}

Gradcheck write_check(const kernels::Cells& cells, bool correction, std::vector<double>& gamma) {
  constexpr std::int64_t kG = 2, kB = 3, kM = 2, kD = 3, kP = 5;
  Gradcheck check;
  // Keys, values, logits: a write is the only consumer of each. The masses are scaled so that some γ lie inside (0, 1)
  // and some are clipped.
  const Tensor z = positive_tensor({kG, kB, kP}, 5);
  for (std::int64_t i = 0; i < z.numel(); ++i) z.data<double>()[i] *= i % (2 * kP) < kP ? 0.5 : 3;
  check.inputs = {{positive_tensor({kG, kB, kM, kP}, 1), Contribution::kRefuses},
                  {random_tensor({kG, kB, kM, kD}, 2), Contribution::kRefuses},
                  {random_tensor({kG, kB, kM, 1}, 3), Contribution::kRefuses},
                  {random_tensor({kG, kB, kP, kD}, 4)},
                  {z}};
  check.op = [&cells, correction](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
    const Tensor a = Tensor::empty(ctx.stream, x[3].value.shape(), DType::kF64);
    const Tensor mass = Tensor::empty(ctx.stream, x[4].value.shape(), DType::kF64);
    const ops::MemoryState next =
        ops::memory_write(ctx, x[0], x[1], x[2], {x[3], x[4]}, cells, correction, a, mass, {});
    return {next.a, next.z};
  };
  check.reference = [&cells, correction, &gamma](Context&, const std::vector<Var>& x) {
    return plain_write(x, cells, correction, gamma);
  };
  return check;
}

TEST(MemoryOpGradients, Write) {
  const kernels::Cells cells = mixed_cells(5);
  for (const bool correction : {true, false}) {
    std::vector<double> gamma;  // filled at the base point, frozen from then on
    EXPECT_GRADIENTS(write_check(cells, correction, gamma));
    EXPECT_EQ(gamma.size(), 12u);
    if (!correction) continue;
    EXPECT_TRUE(std::any_of(gamma.begin(), gamma.end(), [](double x) { return x > 0.01 && x < 0.99; }));
    EXPECT_TRUE(std::any_of(gamma.begin(), gamma.end(), [](double x) { return x == 0; }));
  }
}

TEST(MemoryOpGradients, WriteWithMovingGammaIsFound) {
  // The check must see the difference between a frozen and a moving γ, else it would not know about the gradient's
  // path.
  const kernels::Cells cells = mixed_cells(5);
  std::vector<double> gamma;
  Gradcheck check = write_check(cells, true, gamma);
  check.reference = {};
  EXPECT_GT(run_gradcheck(check).worst, 1e-3);
}

TEST(MemoryOpGradients, WriteWhoseMassIsNotUsed) {
  // Only one of the two outputs gets a gradient: the other counts as zero.
  const kernels::Cells cells = mixed_cells(5);
  std::vector<double> gamma;
  const Gradcheck check = write_check(cells, true, gamma);
  for (const std::size_t used : {std::size_t{0}, std::size_t{1}}) {
    Gradcheck one = check;
    one.op = [&check, used](Context& ctx, const std::vector<Var>& x) {
      return std::vector<Var>{check.op(ctx, x)[used]};
    };
    one.reference = [&check, used](Context& ctx, const std::vector<Var>& x) {
      return std::vector<Var>{check.reference(ctx, x)[used]};
    };
    // Keys, values and logits, and the state that the used output depends on.
    EXPECT_GRADIENTS(one);
  }
}

TEST(MemoryOpGradients, MapReadAndWriteTogether) {
  // One state read and written in one wave, its gradient from both: x -> φ -> read, keys -> write.
  constexpr std::int64_t kG = 2, kB = 3, kT = 4, kD = 3, kWidth = 2, kNu = 3, kP = 12;
  const kernels::Cells cells = mixed_cells(kT);
  EXPECT_GRADIENTS({.inputs = {{random_tensor({kG, kB, kT, kD}, 1)},
                               {random_tensor({kG, kB, kT, kWidth}, 2, 1, 0.3), Contribution::kRefuses},
                               {random_tensor({kG, kB, 2, kWidth}, 3, 1, 0.3), Contribution::kRefuses},
                               {random_tensor({kG, kB, 2, kD}, 4), Contribution::kRefuses},
                               {random_tensor({kG, kB, 2, 1}, 5), Contribution::kRefuses},
                               {random_tensor({kG, kB, kP, kD}, 6), Contribution::kAdds, 0},
                               {positive_tensor({kG, kB, kP}, 7), Contribution::kAdds, 0}},
                    .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                      const ops::MemoryState state{x[5], x[6]};
                      const Var y = ops::memory_read(ctx, x[0], ops::dpfp(ctx, x[1], kNu), state, cells, {});
                      const ops::MemoryState next =
                          ops::memory_write(ctx, ops::dpfp(ctx, x[2], kNu), x[3], x[4], state, cells, false,
                                            Tensor::empty(ctx.stream, x[5].value.shape(), DType::kF64),
                                            Tensor::empty(ctx.stream, x[6].value.shape(), DType::kF64), {});
                      return {y, next.a, next.z};
                    }});
}

TEST(MemoryOps, SmallestDenominatorIsReported) {
  const kernels::Cells cells{Tensor::from<std::uint8_t>({1, 3}, {kLater, kFirst, kInactive}),
                             Tensor::from<std::int32_t>({1, 3}, {2, 3, 0})};
  // φ·z of the first cell's rows: 6, 4 and, in padding, 0.
  const Tensor phi = Tensor::from<double>({1, 3, 3, 1}, {3, 2, 0, 0, 0, 0, 0, 0, 0});
  const Tensor z = Tensor::from<double>({1, 3, 1}, {2, 0, 0});
  const Tensor a = Tensor::zeros(Stream{}, {1, 3, 1, 2}, DType::kF64),
               x = Tensor::zeros(Stream{}, {1, 3, 3, 2}, DType::kF64);
  Context ctx;
  const Tensor smallest = Tensor::from<double>({1}, {100});
  ops::memory_read(ctx, x, phi, {a, z}, cells, smallest);
  EXPECT_EQ(smallest.to_vector<double>()[0], 4 + kernels::kMemoryEpsilon);
  const Tensor smaller = Tensor::from<double>({1}, {3});
  ops::memory_read(ctx, x, phi, {a, z}, cells, smaller);
  EXPECT_EQ(smaller.to_vector<double>()[0], 3);
}

}  // namespace
}  // namespace wt
