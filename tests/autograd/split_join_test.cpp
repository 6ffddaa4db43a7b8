// Tensors that are parts of others, and their gradients.
#include <gtest/gtest.h>

#include "autograd/ops/activation.h"
#include "autograd/ops/add.h"
#include "autograd/ops/add_norm.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/norm.h"
#include "autograd/ops/rows.h"
#include "tests/support/expect_error.h"
#include "tests/support/gradcheck.h"

namespace wt {
namespace {

constexpr double kEps = 1e-1;
const Stream kStream;

// The context of layers [lo, hi) of a stack of their own.
Context stack(const Context& ctx, int lo, int hi) {
  Context own = ctx;
  own.lo = lo;
  own.hi = hi;
  return own;
}

TEST(Split, OnePartIsTheWhole) {
  WaveRecord record;
  Context ctx{kStream, &record};
  const Var x = record.leaf(random_tensor({3, 2}, 1));
  const std::vector<Var> parts = split(ctx, x, {3});
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].id, x.id);
  const Var joined = join(ctx, x.value, {x});
  EXPECT_EQ(joined.id, x.id);
  EXPECT_EQ(joined.value.raw(), x.value.raw());
}

TEST(Split, PartsShareMemoryWithAndWithoutARecord) {
  WaveRecord record;
  Context plain{kStream}, recording{kStream, &record};
  const Tensor x = random_tensor({5, 2}, 1);
  for (const bool wanted : {false, true}) {
    Context& ctx = wanted ? recording : plain;
    const std::vector<Var> parts = split(ctx, wanted ? record.leaf(x) : Var(x), {2, 0, 3});
    ASSERT_EQ(parts.size(), 3u);
    EXPECT_EQ(parts[1].value.shape(), (Shape{0, 2}));
    EXPECT_EQ(parts[2].value.data<double>(), x.data<double>() + 4);
    EXPECT_EQ(parts[2].wants_grad(), wanted);
  }
  EXPECT_FALSE(split(recording, x, {2, 3})[0].wants_grad());
  EXPECT_FALSE(join(recording, x, {x.slice(0, 2), x.slice(2, 5)}).wants_grad());
  EXPECT_EQ(join(plain, x, {x.slice(0, 2), x.slice(2, 5)}).value.raw(), x.raw());
}

TEST(Split, Gradients) {
  // Three parts of a norm in another order, the second unused, the third used twice, the whole used beside them.
  Parameter gain = random_parameter(4, {3}, 2), matrix = random_parameter(2, {3, 3}, 3);
  const Tensor order = Tensor::from<std::int32_t>({4}, {2, 0, 3, 1});
  for (const bool whole_too : {false, true}) {
    EXPECT_GRADIENTS({.inputs = {{random_tensor({4, 1, 3, 3}, 1)}},
                      .parameters = {&gain, &matrix},
                      .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                        const Var y = ops::rms_norm(ctx, x[0], gain, kEps, order);
                        const std::vector<Var> parts = split(ctx, y, {1, 1, 2});
                        Context one = stack(ctx, 0, 1), two = stack(ctx, 0, 2);
                        const Var a = ops::add(ctx, parts[0], parts[0]), b = ops::linear(one, parts[0], matrix);
                        const Var c = ops::linear(two, parts[2], matrix, {.residual = &parts[2]});
                        if (!whole_too) return std::vector<Var>{b, c};
                        return std::vector<Var>{ops::add(ctx, a, b), c, ops::add(ctx, y, y)};
                      },
                      .hi = 4});
  }
}

TEST(Split, GradientsOfALeaf) {
  // A second split overlaps the first.
  EXPECT_GRADIENTS(
      {.inputs = {{random_tensor({3, 1, 2, 4}, 1)}}, .op = [](Context& ctx, const std::vector<Var>& x) {
         const std::vector<Var> parts = split(ctx, x[0], {1, 2}), others = split(ctx, x[0], {2, 1});
         const Var twice = ops::add(ctx, parts[1], parts[1]);
         return std::vector<Var>{twice, ops::add(ctx, others[0], others[0]), ops::add(ctx, parts[0], parts[0])};
       }});
}

TEST(Split, PartsMayBeChangedInPlace) {
  const kernels::AttentionHeads heads{1, 1, 2};
  Parameter matrix = random_parameter(3, {6, 3}, 2);
  const Tensor table = random_tensor({4, 2}, 3);
  for (const bool joined : {false, true}) {
    EXPECT_GRADIENTS({.inputs = {{random_tensor({3, 1, 4, 3}, 1)}},
                      .parameters = {&matrix},
                      .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                        if (!joined) {
                          const std::vector<Var> qkv = split(ctx, ops::linear(ctx, x[0], matrix), {1, 2});
                          return {ops::attention(ctx, ops::rotary(ctx, qkv[0], heads, table), heads),
                                  ops::attention(ctx, ops::rotary(ctx, qkv[1], heads, table), heads)};
                        }
                        const Tensor all = Tensor::empty(ctx.stream, {3, 1, 4, 6}, DType::kF64);
                        const std::vector<Var> in = split(ctx, x[0], {1, 2});
                        Context one = stack(ctx, 0, 1), two = stack(ctx, 1, 3);
                        const Var first =
                            ops::rotary(ctx, ops::linear(one, in[0], matrix, {.out = all.slice(0, 1)}), heads, table);
                        const Var second = ops::linear(two, in[1], matrix, {.out = all.slice(1, 3)});
                        const Var qkv = ops::rotary(ctx, join(ctx, all, {first, second}), heads, table);
                        return {ops::attention(ctx, qkv, heads)};
                      },
                      .hi = 3});
  }
}

TEST(Join, Gradients) {
  // Parts made by different ops, used beside the whole before and behind the join; one part that wants no gradient.
  Parameter matrix = random_parameter(3, {3, 3}, 2);
  for (const bool beside : {false, true}) {
    EXPECT_GRADIENTS({.inputs = {{random_tensor({1, 1, 3, 3}, 1)}, {random_tensor({2, 1, 3, 3}, 3)}},
                      .parameters = {&matrix},
                      .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                        const Tensor all = Tensor::empty(ctx.stream, {4, 1, 3, 3}, DType::kF64);
                        Context one = stack(ctx, 0, 1), two = stack(ctx, 1, 3);
                        const Var a = ops::linear(one, x[0], matrix, {.residual = &x[0], .out = all.slice(0, 1)});
                        const Var early = ops::add(ctx, a, x[0]);
                        const Var b = ops::linear(two, x[1], matrix, {.out = all.slice(1, 3)});
                        all.slice(3, 4).copy_from(ctx.stream, random_tensor({1, 1, 3, 3}, 4));
                        const Var whole = join(ctx, all, {a, b, all.slice(3, 4)});
                        const Var y = ops::add(ctx, whole, whole);
                        if (!beside) return {y};
                        return {y, early, ops::linear(one, a, matrix), ops::linear(two, b, matrix)};
                      },
                      .hi = 3});
  }
}

TEST(Join, APartThatNothingReachesIsTakenAsUndefined) {
  // Of the joined tensor only one part is used, and that through a split of it.
  Parameter matrix = random_parameter(3, {3, 3}, 2);
  EXPECT_GRADIENTS({.inputs = {{random_tensor({3, 1, 2, 3}, 1)}},
                    .parameters = {&matrix},
                    .op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
                      const Tensor all = Tensor::empty(ctx.stream, x[0].value.shape(), DType::kF64);
                      const std::vector<Var> in = split(ctx, x[0], {2, 1});
                      Context two = stack(ctx, 0, 2), one = stack(ctx, 2, 3);
                      const Var a = ops::linear(two, in[0], matrix, {.out = all.slice(0, 2)});
                      const Var b = ops::linear(one, in[1], matrix, {.out = all.slice(2, 3)});
                      return {ops::gelu(ctx, split(ctx, join(ctx, all, {a, b}), {2, 1})[1])};
                    },
                    .hi = 3});
}

// A layer's first half with layers of two kinds: norm into kind order, a mixer for each kind, the sum back in layer
// order. Against the same layer by layer.
TEST(Join, MixedLayers) {
  constexpr int kLayers = 5;
  const int kinds[] = {1, 0, 1, 1, 0};  // the first kind is layers 1 and 4
  const Tensor order = Tensor::from<std::int32_t>({kLayers}, {2, 0, 3, 4, 1});
  Parameter norm1 = random_parameter(kLayers, {4}, 2), norm2 = random_parameter(kLayers, {4}, 3),
            plain = random_parameter(2, {4, 4}, 4), in = random_parameter(3, {6, 4}, 5),
            out = random_parameter(3, {4, 6}, 6), last = random_parameter(kLayers, {4, 4}, 7);
  for (const bool dropout : {false, true}) {
    const auto mix = [&](Context& ctx, int kind, const Var& x, const Tensor& to) {
      if (kind == 0) return ops::linear(ctx, x, plain, {.out = to});
      return ops::linear(ctx, ops::gelu(ctx, ops::linear(ctx, x, in)), out, {.out = to});
    };
    const auto op = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
      const std::vector<Var> normed = split(ctx, ops::rms_norm(ctx, x[0], norm1, kEps, order), {2, 3});
      const Tensor delta = Tensor::empty(ctx.stream, x[0].value.shape(), DType::kF64);
      Context first = stack(ctx, 0, 2), second = stack(ctx, 0, 3);
      const Var a = mix(first, 0, normed[0], delta.slice(0, 2)), b = mix(second, 1, normed[1], delta.slice(2, kLayers));
      const Var sum = join(ctx, delta, {a, b});
      const Tensor cells = Tensor::from<std::int64_t>({kLayers, 1}, {3, 8, 1, 0, 2});
      const Var dropped = dropout ? ops::dropout(ctx, sum, cells, 0.3, {5, 6, 1}) : sum;
      const auto [h, n] = ops::add_norm(ctx, x[0], dropped, order, norm2, kEps);
      return {ops::linear(ctx, n, last, {.residual = &h})};
    };
    const auto layer_by_layer = [&](Context& ctx, const std::vector<Var>& x) -> std::vector<Var> {
      const Tensor y = Tensor::empty(ctx.stream, x[0].value.shape(), DType::kF64);
      int seen[2] = {};
      for (int l = 0; l < kLayers; ++l) {
        const int kind = kinds[l], place = seen[kind]++;
        Context one = stack(ctx, l, l + 1), own = stack(ctx, place, place + 1);
        const Var row(x[0].value.slice(l, l + 1));
        const Var mixed = mix(own, kind, ops::rms_norm(one, row, norm1, kEps), {});
        const Var h = ops::add(one, row, mixed);
        y.slice(l, l + 1).copy_from(kStream,
                                    ops::linear(one, ops::rms_norm(one, h, norm2, kEps), last, {.residual = &h}).value);
      }
      return {y};
    };
    Gradcheck check{.inputs = {{random_tensor({kLayers, 1, 2, 4}, 1)}},
                    .parameters = {&norm1, &norm2, &plain, &in, &out, &last},
                    .op = op,
                    .hi = kLayers,
                    .training = dropout};
    if (!dropout) check.reference = layer_by_layer;
    EXPECT_GRADIENTS(check);
  }
}

// Notes where it is told to put the gradient of its input, and how; the gradient is ones.
struct Probe {
  int id;
  Shape shape;
  std::vector<std::pair<Tensor, GradMode>>* seen;
  std::vector<Tensor> tensors() const { return {}; }
};
void probe_backward(BackwardPass& pass, const Probe& p) {
  p.seen->push_back(pass.slot(p.id, p.shape, DType::kF64));
  const auto& [grad, mode] = p.seen->back();
  for (std::int64_t i = 0; i < grad.numel(); ++i) {
    grad.data<double>()[i] = 1 + (mode == GradMode::kAccumulate ? grad.data<double>()[i] : 0);
  }
}

TEST(Split, GradientsAreSlicesOfTheWholes) {
  WaveRecord record;
  Context ctx{kStream, &record};
  const Var x = record.leaf(random_tensor({4, 2}, 1));
  const std::vector<Var> parts = split(ctx, x, {1, 1, 2});
  std::vector<std::pair<Tensor, GradMode>> seen;
  for (const Var& var : {x, parts[0], parts[2], parts[2]}) {
    record.record("probe", Probe{var.id, var.value.shape(), &seen}, probe_backward);
  }
  poison_pool({x.value});
  record.backward(kStream);
  // Last op first: the third part twice, the first, then the whole, for which the second is zeroed.
  const double* whole = record.grad(x).data<double>();
  EXPECT_EQ(seen[0].first.data<double>(), whole + 4);
  EXPECT_EQ(seen[0].second, GradMode::kOverwrite);
  EXPECT_EQ(seen[1].first.data<double>(), whole + 4);
  EXPECT_EQ(seen[1].second, GradMode::kAccumulate);
  EXPECT_EQ(seen[2].first.data<double>(), whole);
  EXPECT_EQ(seen[2].second, GradMode::kOverwrite);
  EXPECT_EQ(seen[3].first.data<double>(), whole);
  EXPECT_EQ(seen[3].second, GradMode::kAccumulate);
  EXPECT_EQ(record.grad(x).to_vector<double>(), (std::vector<double>{2, 2, 1, 1, 3, 3, 3, 3}));
  EXPECT_EQ(record.grad(parts[2]).data<double>(), whole + 4);
}

TEST(Split, APartThatNothingReachedReadsAsZero) {
  WaveRecord record;
  Context ctx{kStream, &record};
  const Var x = record.leaf(random_tensor({4, 2}, 1)), y = record.leaf(x.value);
  const std::vector<Var> parts = split(ctx, x, {1, 3}), others = split(ctx, y, {1, 3});
  std::vector<std::pair<Tensor, GradMode>> seen;
  record.record("probe", Probe{parts[0].id, {1, 2}, &seen}, probe_backward);
  poison_pool({x.value});
  record.backward(kStream);
  EXPECT_EQ(record.grad(x).to_vector<double>(), (std::vector<double>{1, 1, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(record.grad(parts[1]).to_vector<double>(), std::vector<double>(6, 0));
  EXPECT_FALSE(record.grad(y).defined());
  EXPECT_FALSE(record.grad(others[0]).defined());
}

TEST(Join, GradientsOfLeavesAreSlicesOfTheWholes) {
  WaveRecord record;
  Context ctx{kStream, &record};
  const Tensor all = random_tensor({3, 2}, 1);
  const Var a = record.leaf(all.slice(0, 1)), b = record.leaf(all.slice(1, 3)), whole = join(ctx, all, {a, b});
  record.set_grad(whole, random_tensor({3, 2}, 2));
  const Tensor given = record.grad(whole);
  record.backward(kStream);
  EXPECT_EQ(record.grad(a).raw(), given.raw());
  EXPECT_EQ(record.grad(b).data<double>(), given.data<double>() + 2);
}

TEST(Join, ProducersTakeSlices) {
  Parameter matrix = random_parameter(3, {2, 2}, 2);
  WaveRecord record;
  Context first{kStream, &record, false, 0, 1}, second{kStream, &record, false, 1, 3};
  const Var x = record.leaf(random_tensor({3, 1, 2}, 1)), r = record.leaf(random_tensor({1, 1, 2}, 3)),
            q = record.leaf(random_tensor({2, 1, 2}, 4));
  const Tensor all = Tensor::empty(kStream, {3, 1, 2}, DType::kF64);
  const Var a = ops::linear(first, x.value.slice(0, 1), matrix, {.residual = &r, .out = all.slice(0, 1)}),
            b = ops::linear(second, x.value.slice(1, 3), matrix, {.residual = &q, .out = all.slice(1, 3)});
  const Var whole = join(first, all, {a, b});
  record.set_grad(whole, random_tensor({3, 1, 2}, 5));
  const Tensor given = record.grad(whole);
  record.backward(kStream);
  // The whole's is given up; each product passed what it took to its residual.
  EXPECT_FALSE(record.grad(whole).defined());
  EXPECT_EQ(record.grad(r).raw(), given.raw());
  EXPECT_EQ(record.grad(q).data<double>(), given.data<double>() + 2);
}

TEST(Split, ErrorsNameWhatDoesNotFit) {
  WaveRecord record;
  Context ctx{kStream, &record};
  const Var x = record.leaf(random_tensor({4, 2}, 1));
  EXPECT_ERROR(split(ctx, x, {1, 2}), Error, "split: parts of 3 entries in all of f64[4,2]");
  const std::vector<Var> parts = split(ctx, x, {1, 3});
  EXPECT_ERROR(split(ctx, parts[1], {1, 2}), Error, "neither split nor joined again");
  EXPECT_ERROR(join(ctx, x.value, {parts[0], parts[1]}), Error, "neither split nor joined again");
  EXPECT_ERROR(join(ctx, x.value, {parts[1], parts[0]}), Error, "does not lie at entry 0 of f64[4,2]");
  EXPECT_ERROR(join(ctx, x.value, {parts[0]}), Error, "the parts do not fill f64[4,2]");
  EXPECT_ERROR(join(ctx, x.value, {x, x}), Error, "does not lie at entry 4");
  EXPECT_ERROR(record.set_grad(parts[0], random_tensor({1, 2}, 2)), Error, "gradient given for a part");
}

TEST(Split, SavedBytesCountSharedMemoryOnce) {
  Parameter matrix = random_parameter(4, {3, 3}, 1), gain = random_parameter(4, {3}, 2);
  WaveRecord record;
  Context ctx{kStream, &record, false, 0, 4}, part{kStream, &record, false, 0, 2};
  const Var x = record.leaf(random_tensor({4, 2, 3}, 2));
  const std::vector<Var> halves = split(ctx, x, {2, 2});
  ops::linear(part, halves[1], matrix);
  ops::linear(part, halves[0], matrix);
  EXPECT_EQ(record.saved_bytes(), x.value.bytes());
  ops::linear(ctx, x, matrix);
  EXPECT_EQ(record.saved_bytes(), x.value.bytes());
  ops::rms_norm(ctx, x, gain, kEps);
  EXPECT_EQ(record.saved_bytes(), x.value.bytes() + 8 * 8);
}

}  // namespace
}  // namespace wt
