// The tape's mechanism, and parameters.
#include "autograd/tape.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "autograd/ops/activation.h"
#include "autograd/ops/add.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/norm.h"
#include "autograd/ops/rows.h"
#include "autograd/parameter.h"
#include "core/memory.h"
#include "tests/support/expect_error.h"
#include "tests/support/gradcheck.h"

namespace wt {
namespace {

TEST(Tape, NothingIsRecordedWithoutARecord) {
  Parameter weight = random_parameter(1, {3, 3}, 1);
  Context ctx;
  const Var y = ops::linear(ctx, random_tensor({1, 2, 3}, 2), weight);
  EXPECT_FALSE(y.wants_grad());
  EXPECT_FALSE(ctx.recording());
}

TEST(Tape, OpsOfUnwantedInputsLeaveNoRecord) {
  WaveRecord record;
  Context ctx{Stream{}, &record, true, 0, 1};
  const Var x(random_tensor({1, 1, 2, 4}, 1));
  EXPECT_FALSE(ops::gelu(ctx, x).wants_grad());
  EXPECT_FALSE(ops::swiglu(ctx, x).wants_grad());
  EXPECT_FALSE(ops::add(ctx, x, x).wants_grad());
  EXPECT_FALSE(ops::dropout(ctx, x, Tensor::from<std::int64_t>({1, 1}, {0}), 0.5, {}).wants_grad());
  EXPECT_EQ(record.num_ops(), 0u);
  EXPECT_TRUE(ops::gelu(ctx, record.leaf(x.value)).wants_grad());
  EXPECT_EQ(record.num_ops(), 1u);
}

TEST(Tape, AGradientIsInTheTensorsDtypeOrInTheWideOne) {
  const auto give = [](DType value, DType grad) {
    WaveRecord record;
    const Var x = record.leaf(Tensor::zeros(Stream{}, {2}, value));
    record.set_grad(x, Tensor::zeros(Stream{}, {2}, grad));
    return record.grad(x).dtype();
  };
  EXPECT_EQ(give(DType::kBF16, DType::kBF16), DType::kBF16);
  EXPECT_EQ(give(DType::kBF16, DType::kF32), DType::kF32);
  EXPECT_EQ(give(DType::kF32, DType::kF32), DType::kF32);
  EXPECT_ERROR(give(DType::kF32, DType::kBF16), Error, "gradient is bf16[2], the tensor f32[2]");
  EXPECT_ERROR(give(DType::kF32, DType::kF64), Error, "gradient is f64[2], the tensor f32[2]");
  EXPECT_ERROR(give(DType::kBF16, DType::kF64), Error, "gradient is f64[2], the tensor bf16[2]");
}

TEST(Tape, SavedBytesAreThoseOfTheOps) {
  Parameter weight = random_parameter(1, {3, 3}, 1);
  WaveRecord record;
  Context ctx{Stream{}, &record, false, 0, 1};
  const Var x = record.leaf(random_tensor({1, 2, 3}, 2));
  Parameter gain = random_parameter(1, {3}, 4);
  ops::linear(ctx, ops::rms_norm(ctx, x, gain, 1e-5), weight);
  EXPECT_EQ(record.num_ops(), 2u);
  // rms_norm keeps x and one scale a row, linear its input.
  EXPECT_EQ(record.saved_bytes(), 8u * (6 + 2 + 6));
}

TEST(Tape, SavedBytesCountATensorOnceAndBackwardReleasesThem) {
  Parameter weight = random_parameter(1, {3, 3}, 1);
  WaveRecord record;
  Context ctx{Stream{}, &record, false, 0, 1};
  const Var x = record.leaf(random_tensor({1, 2, 3}, 2));
  const Var a = ops::linear(ctx, x, weight);
  const Var b = ops::linear(ctx, x, weight);
  const Var sum = ops::add(ctx, a, b);
  EXPECT_EQ(record.saved_bytes(), x.value.bytes());
  record.set_grad(sum, random_tensor({1, 2, 3}, 3));
  const std::uint64_t before = memory_use(Device{}).current;
  record.backward(Stream{});
  EXPECT_EQ(record.num_ops(), 0u);
  EXPECT_EQ(record.saved_bytes(), 0u);
  EXPECT_LE(memory_use(Device{}).current, before + 2 * x.value.bytes() + weight.value().bytes() + 256);
  EXPECT_TRUE(record.grad(x).defined());
  EXPECT_FALSE(record.grad(sum).defined());  // taken by its producer
}

TEST(Tape, NoTensorIsKeptForItsShapeAlone) {
  WaveRecord record;
  Context ctx{Stream{}, &record, false, 0, 1};
  Var x = record.leaf(random_tensor({1, 1, 1000, 3}, 1)), values = record.leaf(random_tensor({1, 1, 1000, 3}, 2));
  const std::uint64_t bytes = x.value.bytes(), before = memory_use(Device{}).current;
  const Var taken = ops::take_rows(ctx, x, Tensor::from<std::int32_t>({1, 1}, {2}), 2);
  const Tensor index = Tensor::from<std::int32_t>({2}, {1, 0});
  const Var sum = ops::add_rows(ctx, taken, values, index, index);
  x.value = values.value = {};
  EXPECT_LT(memory_use(Device{}).current, before - bytes);
  record.set_grad(sum, random_tensor({1, 1, 2, 3}, 3));
  record.backward(Stream{});
  EXPECT_EQ(record.grad(x).shape(), (Shape{1, 1, 1000, 3}));
  EXPECT_EQ(record.grad(values).shape(), (Shape{1, 1, 1000, 3}));
}

TEST(Tape, OutputsWithoutAGradientContributeNothing) {
  Parameter weight = random_parameter(1, {3, 3}, 1);
  WaveRecord record;
  Context ctx{Stream{}, &record, false, 0, 1};
  const Var x = record.leaf(random_tensor({1, 2, 3}, 2));
  ops::linear(ctx, x, weight);
  record.backward(Stream{});
  EXPECT_FALSE(record.grad(x).defined());
  EXPECT_FALSE(weight.has_grad());
}

TEST(Tape, BadSeedsAreErrors) {
  WaveRecord record;
  const Var x = record.leaf(random_tensor({2, 3}, 2));
  EXPECT_ERROR(record.set_grad(Var(x.value), x.value), Error, "wants none");
  EXPECT_ERROR(record.set_grad(x, random_tensor({3, 2}, 1)), Error, "gradient is f64[3,2], the tensor f64[2,3]");
  EXPECT_ERROR(record.set_grad(x, Tensor::zeros(Stream{}, {2, 3}, DType::kF32)), Error, "f32[2,3]");
}

TEST(Parameters, SlicesOfLayersAndOfTheWholeModel) {
  const Parameter stacked = random_parameter(4, {2, 3}, 1), single = random_parameter(0, {2, 3}, 1);
  EXPECT_EQ(stacked.value().shape(), (Shape{4, 2, 3}));
  EXPECT_EQ(stacked.value_slice(1, 3).shape(), (Shape{2, 2, 3}));
  EXPECT_EQ(stacked.value_slice(1, 3).data<double>(), stacked.value().data<double>() + 6);
  EXPECT_EQ(single.value_slice(2, 3).shape(), (Shape{1, 2, 3}));
  EXPECT_FALSE(stacked.has_grad());
  EXPECT_EQ(stacked.grad_slice(3, 4).to_vector<double>(), std::vector<double>(6, 0));
  EXPECT_TRUE(stacked.has_grad());
}

ParameterSpec spec(const std::string& key, std::vector<PublishedPart> parts, std::int64_t rows = 4) {
  return {key, {0, 1}, {rows, 3}, std::move(parts)};
}

TEST(Parameters, PublishedViewsShareMemory) {
  ParameterStore store(DType::kF64);
  store.add(spec("qk", {{"l.{l}.q", 0, 1, Init::ones()}, {"l.{l}.k", 1, 4, Init::zeros()}}));
  Parameter& norm = store.add({"norm", {}, {3}, {{"norm", 0, 3, Init::ones()}}});
  EXPECT_EQ(store.count(), 2 * 4 * 3 + 3);
  const auto all = store.published();
  ASSERT_EQ(all.size(), 5u);
  EXPECT_EQ(all[0].name, "l.0.q");
  EXPECT_EQ(all[1].name, "l.0.k");
  EXPECT_EQ(all[3].name, "l.1.k");
  EXPECT_EQ(all[3].value.shape(), (Shape{3, 3}));
  EXPECT_EQ(all[3].value.data<double>(), store.all()[0]->value().data<double>() + 12 + 3);
  EXPECT_FALSE(all[3].grad.defined());
  norm.trainable = false;
  store.zero_grad();
  EXPECT_TRUE(store.published()[3].grad.defined());
  EXPECT_FALSE(store.published()[4].grad.defined());
  store.all()[0]->drop_grad();
  EXPECT_FALSE(store.published()[3].grad.defined());
}

TEST(Parameters, TrainingInBf16KeepsWholeNumbers) {
  for (const WeightUse use : {WeightUse::kTraining, WeightUse::kInference}) {
    ParameterStore store(DType::kBF16, {}, use);
    store.add({"w", {0, 1}, {4, 3}, {{"l.{l}.a", 0, 1, Init::ones()}, {"l.{l}.b", 1, 4, Init::normal(1)}}});
    store.add({"norm", {}, {3}, {{"norm", 0, 3, Init::ones()}}});
    store.initialize(1);
    const auto all = store.published();
    EXPECT_EQ(all[1].value.dtype(), DType::kBF16);
    EXPECT_EQ(all[4].value.dtype(), DType::kF32);  // vectors are never halved
    EXPECT_FALSE(all[4].low.defined());
    const Tensor numbers = Tensor::from<double>({3, 3}, {1.0 / 3, -2.0 / 3, 1e-3, 1e10, 0, -1, 7e-20, 3.1415926, 2});
    all[1].write(Stream{}, numbers);
    all[1].slice(1, 2).write(Stream{}, Tensor::from<double>({1, 3}, {0.1, 0.2, 0.3}));
    const Tensor read = all[1].read(Stream{});
    const bool whole = use == WeightUse::kTraining;
    EXPECT_EQ(all[1].low.defined(), whole);
    EXPECT_EQ(read.dtype(), whole ? DType::kF32 : DType::kBF16);
    std::vector<double> want = numbers.to_vector<double>();
    want[3] = 0.1, want[4] = 0.2, want[5] = 0.3;
    const Tensor exact = Tensor::from<double>({3, 3}, want);
    const Stream cpu;
    EXPECT_EQ(
        read.to(cpu, DType::kF64).to_vector<double>(),
        (whole ? exact.to(cpu, DType::kF32) : exact.to(cpu, DType::kBF16)).to(cpu, DType::kF64).to_vector<double>());
    store.zero_grad();
    EXPECT_EQ(store.published()[1].grad.dtype(), DType::kF32);
  }
}

TEST(Parameters, PiecesOfALargeTensorAreOneStream) {
  // Two pieces and a bit, drawn by several threads: the numbers of one stream in order.
  const std::int64_t rows = 2050, width = 1024;
  ParameterStore store(DType::kF32);
  const Parameter& p = store.add({"w", {}, {rows, width}, {{"w", 0, rows, Init::normal(2)}}});
  store.initialize(5);
  ParameterStore small(DType::kF32);
  const Parameter& first = small.add({"w", {}, {3, width}, {{"w", 0, 3, Init::normal(2)}}});
  small.initialize(5);
  const float* values = p.value().data<float>();
  for (std::int64_t i = 0; i < 3 * width; ++i) ASSERT_EQ(values[i], first.value().data<float>()[i]);
  double sum = 0, squares = 0;
  for (std::int64_t i = 0; i < rows * width; ++i)
    sum += values[i], squares += static_cast<double>(values[i]) * values[i];
  const double n = static_cast<double>(rows * width);
  EXPECT_NEAR(sum / n, 0, 5 * 2 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 4, 5 * 4 * std::sqrt(2 / n));
  // No piece repeats another.
  const std::int64_t piece = 1024 * width;
  EXPECT_NE(values[0], values[piece]);
  EXPECT_NE(values[piece], values[2 * piece]);
}

TEST(Parameters, ZeroGradZeroes) {
  ParameterStore store(DType::kF32);
  Parameter& p = store.add({"p", {}, {3}, {{"p", 0, 3, Init::ones()}}});
  p.grad().data<float>()[1] = 3;
  store.zero_grad();
  EXPECT_EQ(p.grad().to_vector<float>(), std::vector<float>(3, 0.0f));
}

TEST(Parameters, InitialValuesDependOnSeedNameAndShapeOnly) {
  const auto values = [](bool with_another, std::uint64_t seed, const std::string& name) {
    ParameterStore store(DType::kF64);
    if (with_another) store.add(spec("first", {{"a.{l}", 0, 4, Init::normal(1)}}));
    const Parameter& p = store.add(spec("second", {{name, 0, 4, Init::normal(0.5)}}));
    store.initialize(seed);
    return p.value().to_vector<double>();
  };
  EXPECT_EQ(values(false, 1, "b.{l}"), values(true, 1, "b.{l}"));
  EXPECT_NE(values(false, 1, "b.{l}"), values(false, 2, "b.{l}"));
  EXPECT_NE(values(false, 1, "b.{l}"), values(false, 1, "c.{l}"));
  const auto drawn = values(false, 1, "b.{l}");
  EXPECT_NE(std::vector<double>(drawn.begin(), drawn.begin() + 12),
            std::vector<double>(drawn.begin() + 12, drawn.end()));
}

TEST(Parameters, InitKinds) {
  ParameterStore store(DType::kF64);
  const Parameter& p = store.add({"p",
                                  {},
                                  {4, 5000},
                                  {{"zeros", 0, 1, Init::zeros()},
                                   {"ones", 1, 2, Init::ones()},
                                   {"normal", 2, 3, Init::normal(0.5)},
                                   {"uniform", 3, 4, Init::uniform(0.2)}}});
  store.initialize(3);
  const auto values = p.value().to_vector<double>();
  const auto moments = [&](std::size_t part) {
    double sum = 0, squares = 0, largest = 0;
    for (std::size_t i = part * 5000; i < (part + 1) * 5000; ++i) {
      sum += values[i] / 5000;
      squares += values[i] * values[i] / 5000;
      largest = std::max(largest, std::abs(values[i]));
    }
    return std::array<double, 3>{sum, squares, largest};
  };
  EXPECT_EQ(moments(0)[2], 0);
  EXPECT_NEAR(moments(1)[0], 1, 1e-12);
  EXPECT_NEAR(moments(1)[1], 1, 1e-12);
  EXPECT_NEAR(moments(2)[0], 0, 0.03);  // four deviations of the mean
  EXPECT_NEAR(moments(2)[1], 0.25, 0.02);
  EXPECT_NEAR(moments(3)[0], 0, 0.007);
  EXPECT_NEAR(moments(3)[1], 0.04 / 3, 0.001);
  EXPECT_LE(moments(3)[2], 0.2);
  EXPECT_GT(moments(3)[2], 0.19);
}

TEST(Parameters, BadSpecsAreErrors) {
  ParameterStore store(DType::kF64);
  store.add(spec("a", {{"x.{l}", 0, 4, {}}}));
  EXPECT_ERROR(store.add(spec("a", {{"y.{l}", 0, 4, {}}})), Error, "two parameters have the key a");
  EXPECT_ERROR(store.add(spec("b", {{"x.{l}", 0, 4, {}}})), Error, "the name x.{l} is taken by a");
  EXPECT_ERROR(store.add(spec("b", {{"y.{l}", 0, 3, {}}})), Error, "cover 3 of 4 rows");
  EXPECT_ERROR(store.add(spec("b", {{"y.{l}", 0, 2, {}}, {"z.{l}", 3, 4, {}}})), Error, "begins at row 3, expected 2");
  EXPECT_ERROR(store.add(spec("b", {})), Error, "no shape or no published name");
  EXPECT_ERROR(store.all()[0]->published_views(random_tensor({2, 2}, 1)), Error, "the tensor f64[2,2]");
  EXPECT_EQ(store.all().size(), 1u);
}

}  // namespace
}  // namespace wt
