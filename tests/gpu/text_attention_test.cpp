// Attention over a text on the GPU against the CPU's: cuDNN, tensor cores, blocks of keys for few rows, and tiles.
#include "kernels/text_attention.h"

#include <cmath>
#include <limits>
#include <vector>

#include "core/graph.h"
#include "kernels/rotary.h"
#include "tests/support/expect_error.h"
#include "tests/support/gpu.h"
#include "tests/support/tolerances.h"

namespace wt::kernels {
namespace {

// As in attention_test.cpp: probabilities and scores' gradients are rounded to bfloat16, and dp - dout·out cancels most
// of two numbers with rounded inputs.
constexpr double kGradientBF16 = 2e-2;
// The same difference in float32.
constexpr double kGradientF32 = 1e-4;

const Stream kCpu;

struct Case {
  std::int64_t g, b, t, query, key_value, width, capacity;
  std::vector<std::int32_t> rows, past, origin;  // by cell, begun again where there are more cells
  bool open = false;                             // half of the past ones are open
  AttentionHeads heads() const { return {query, key_value, width}; }
  Shape qkv() const { return {g, b, t, heads().row_width()}; }
  Shape out() const { return {g, b, t, query * width}; }
  Shape lse() const { return {g, b, query, t}; }
  Shape cache() const { return {g, b, capacity, key_value, width}; }
  std::string str() const {
    return cat("G ", g, " B ", b, " T ", t, " heads ", query, "/", key_value, " width ", width, " capacity ", capacity);
  }
  std::int32_t of(const std::vector<std::int32_t>& values, std::int64_t cell) const {
    return values[static_cast<std::size_t>(cell) % values.size()];
  }
  Cells cells() const {
    std::vector<std::int32_t> all[4];
    for (std::int64_t cell = 0; cell < g * b; ++cell) {
      const std::int32_t before = of(past, cell), ran = open ? before / 2 : 0;
      all[0].push_back(of(rows, cell));
      all[1].push_back(before - ran);
      all[2].push_back(of(origin, cell));
      all[3].push_back(ran);
    }
    Cells cells;
    cells.rows = Tensor::from<std::int32_t>({g, b}, all[0]);
    cells.past = Tensor::from<std::int32_t>({g, b}, all[1]);
    cells.origin = Tensor::from<std::int32_t>({g, b}, all[2]);
    if (open) cells.open = Tensor::from<std::int32_t>({g, b}, all[3]);
    return cells;
  }
};

Cells upload(const Cells& cells) {
  Cells there;
  there.rows = wt::upload(cells.rows);
  there.past = wt::upload(cells.past);
  there.origin = wt::upload(cells.origin);
  if (cells.open.defined()) there.open = wt::upload(cells.open);
  return there;
}

const std::vector<Case> kCases{
    // One row, or few for a key head.
    {1, 1, 1, 1, 1, 8, 1, {1}, {0}, {0}},
    {2, 2, 1, 8, 2, 64, 900, {1, 1, 0, 1}, {0, 700, 5, 64}, {0, 100, 3, 800}},
    {1, 3, 1, 4, 1, 128, 3000, {1}, {2998, 63, 64}, {1, 5, 0}, true},
    {2, 1, 4, 8, 2, 64, 400, {4, 2}, {300, 61}, {7, 0}, true},
    {1, 2, 2, 7, 1, 33, 200, {2, 1}, {0, 150}, {3, 20}},
    // Few rows: the keys are cut.
    {3, 1, 16, 8, 2, 128, 2000, {16, 11, 0}, {1500, 3, 40}, {2, 0, 0}},
    {2, 2, 16, 4, 1, 64, 700, {16, 1, 9, 16}, {0, 640, 60, 127}, {0, 30, 500, 1}, true},
    {1, 1, 40, 6, 3, 80, 5000, {37}, {4900}, {11}},
    {1, 2, 5, 32, 2, 40, 100, {5, 3}, {0, 90}, {0, 0}},
    // More of them, in tiles of float32 and on tensor cores, then by cuDNN.
    {1, 1, 70, 2, 1, 200, 300, {65}, {190}, {3}},
    {2, 1, 33, 4, 4, 5, 90, {33, 2}, {40, 0}, {9, 1}},
    {5, 1, 100, 32, 8, 128, 700, {100, 0, 99, 33, 1}, {600, 5, 31, 0, 64}, {0, 3, 70, 600, 2}},
    {5, 1, 100, 32, 8, 48, 700, {100, 0, 99, 33, 1}, {600, 5, 31, 0, 64}, {0, 3, 70, 600, 2}, true},
    {4, 2, 100, 48, 12, 128, 500, {100, 99, 0, 33, 1, 64}, {400, 5, 0, 200, 64, 63}, {0, 3, 70, 200, 2, 1}},
    {4, 2, 100, 24, 12, 64, 500, {100, 99, 0, 33, 1, 64}, {400, 5, 0, 200, 64, 63}, {0, 3, 70, 200, 2, 1}},
    {3, 2, 180, 16, 4, 64, 1000, {180, 100, 0, 64, 1, 179}, {0, 700, 20, 64, 300, 801}, {0, 100, 1, 2, 3, 20}},
    {3, 2, 180, 16, 4, 128, 600, {180, 100, 0, 64, 179, 1}, {0, 400, 20, 64, 127, 300}, {0, 100, 1, 2, 3, 4}},
    {3, 2, 400, 12, 4, 128, 800, {400, 333, 0, 64, 400, 129}, {0, 300, 20, 64, 127, 65}, {400, 100, 1, 2, 3, 4}, true},
    {4, 2, 300, 8, 8, 96, 700, {300, 257, 0, 64, 256, 1}, {0, 300, 20, 64, 127, 65}, {400, 100, 1, 2, 3, 4}},
};

// Rows [begin, end) of a cell of (G, B, N, …) become NaN.
void spoil(const Tensor& x, std::int64_t cell, std::int64_t begin, std::int64_t end) {
  const std::int64_t row = x.numel() / (x.dim(0) * x.dim(1) * x.dim(2));
  float* of_cell = x.data<float>() + cell * x.dim(2) * row;
  std::fill(of_cell + begin * row, of_cell + end * row, std::numeric_limits<float>::quiet_NaN());
}

struct Inputs {
  Tensor qkv, dout, keys, values, dkeys, dvalues;
};

// NaN in padding and in the cache's rows beyond each text.
Inputs inputs_of(const Case& c, DType dtype) {
  Inputs in{normal(c.qkv(), 1),   normal(c.out(), 2),   normal(c.cache(), 3),
            normal(c.cache(), 4), normal(c.cache(), 5), normal(c.cache(), 6)};
  for (Tensor* x : {&in.qkv, &in.dout, &in.keys, &in.values}) *x = dtype == DType::kBF16 ? rounded(*x) : *x;
  for (std::int64_t cell = 0; cell < c.g * c.b; ++cell) {
    const std::int64_t rows = c.of(c.rows, cell), begin = c.of(c.origin, cell), old = begin + c.of(c.past, cell);
    for (const Tensor& x : {in.qkv, in.dout}) spoil(x, cell, rows, c.t);
    for (const Tensor& x : {in.keys, in.values}) {
      spoil(x, cell, 0, begin);
      spoil(x, cell, old, c.capacity);
    }
    for (const Tensor& x : {in.dkeys, in.dvalues}) {
      spoil(x, cell, 0, begin);
      spoil(x, cell, old + rows, c.capacity);
    }
  }
  return in;
}

struct Results {
  Tensor out, lse, dqkv, keys, values, dkeys, dvalues;
};

Results on_cpu(const Case& c, const Inputs& in, bool later) {
  const auto nan = [](const Shape& shape) {
    return Tensor::from<float>(
        shape, std::vector<float>(static_cast<std::size_t>(shape.numel()), std::numeric_limits<float>::quiet_NaN()));
  };
  Results r{nan(c.out()), nan(c.lse()), nan(c.qkv()), in.keys.clone(kCpu), in.values.clone(kCpu), {}, {}};
  if (later) {
    r.dkeys = in.dkeys.clone(kCpu);
    r.dvalues = in.dvalues.clone(kCpu);
  }
  text_attention_forward(kCpu, in.qkv, c.heads(), c.cells(), r.keys, r.values, r.out, r.lse);
  text_attention_backward(kCpu, in.dout, in.qkv, r.out, r.lse, c.heads(), c.cells(), r.keys, r.values, r.dkeys,
                          r.dvalues, r.dqkv);
  return r;
}

Results on_gpu(const Case& c, const Inputs& in, DType dtype, bool later) {
  Results r{poisoned(c.out(), dtype),
            poisoned(c.lse(), DType::kF32),
            poisoned(c.qkv(), dtype),
            wt::upload(in.keys, dtype),
            wt::upload(in.values, dtype),
            {},
            {}};
  if (later) {
    r.dkeys = wt::upload(in.dkeys);
    r.dvalues = wt::upload(in.dvalues);
  }
  const Tensor qkv = wt::upload(in.qkv, dtype), dout = wt::upload(in.dout, dtype);
  const Cells cells = upload(c.cells());
  text_attention_forward(gpu(), qkv, c.heads(), cells, r.keys, r.values, r.out, r.lse);
  text_attention_backward(gpu(), dout, qkv, r.out, r.lse, c.heads(), cells, r.keys, r.values, r.dkeys, r.dvalues,
                          r.dqkv);
  return r;
}

// relative_error() over columns [first, first + count) of the rows, where NaN stands in the same places of both.
double error_of(const Tensor& got, const Tensor& want, std::int64_t first = 0, std::int64_t count = 0) {
  const auto a = got.to_cpu(gpu()).to(kCpu, DType::kF64).to_vector<double>();
  const auto b = want.to(kCpu, DType::kF64).to_vector<double>();
  const std::int64_t width = want.shape()[-1];
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const std::int64_t col = static_cast<std::int64_t>(i) % width;
    if (count > 0 && (col < first || col >= first + count)) continue;
    if (std::isnan(a[i]) != std::isnan(b[i])) return std::numeric_limits<double>::infinity();
    if (std::isnan(b[i])) continue;
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

// `got` with NaN where `want` has it: what is there means nothing.
Tensor only_where(const Tensor& want, const Tensor& got) {
  const Tensor x = got.to_cpu(gpu()).clone(kCpu);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    if (std::isnan(want.data<float>()[i])) x.data<float>()[i] = want.data<float>()[i];
  }
  return x;
}

void compare(const Case& c, DType dtype, bool later) {
  SCOPED_TRACE(c.str() + " " + std::string(name_of(dtype)) + (later ? "" : ", nothing from later segments"));
  const double forward = dtype == DType::kF32 ? kGpuF32 : kGpuBF16;
  const double backward = dtype == DType::kF32 ? kGradientF32 : kGradientBF16;
  const Inputs in = inputs_of(c, dtype);
  const Results want = on_cpu(c, in, later), got = on_gpu(c, in, dtype, later), again = on_gpu(c, in, dtype, later);
  EXPECT_LT(error_of(got.out, want.out), forward);
  EXPECT_LT(error_of(only_where(want.lse, got.lse), want.lse), kGpuF32);
  EXPECT_EQ(error_of(got.keys, want.keys), 0);
  EXPECT_EQ(error_of(got.values, want.values), 0);
  const std::int64_t key = c.query * c.width, kv = c.key_value * c.width;
  // A row that attends itself alone has no gradient of queries and keys but rounding.
  if (c.capacity > 1) {
    EXPECT_LT(error_of(got.dqkv, want.dqkv, 0, key), backward) << "dq";
  }
  EXPECT_LT(error_of(got.dqkv, want.dqkv, key, kv), backward) << "dk";
  EXPECT_LT(error_of(got.dqkv, want.dqkv, key + kv, kv), backward) << "dv";
  EXPECT_TRUE(same_bytes(got.out, again.out));
  EXPECT_TRUE(same_bytes(got.lse, again.lse));
  EXPECT_TRUE(same_bytes(got.dqkv, again.dqkv));
  if (!later) return;
  // What the segment itself gave, without what was there before.
  const auto share = [](const Tensor& sum, const Tensor& before) {
    const Tensor x = sum.to_cpu(gpu()).clone(kCpu);
    for (std::int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] -= before.data<float>()[i];
    return x;
  };
  EXPECT_LT(error_of(share(got.dkeys, in.dkeys), share(want.dkeys, in.dkeys)), backward) << "dkeys";
  EXPECT_LT(error_of(share(got.dvalues, in.dvalues), share(want.dvalues, in.dvalues)), backward) << "dvalues";
  EXPECT_TRUE(same_bytes(got.dkeys, again.dkeys));
  EXPECT_TRUE(same_bytes(got.dvalues, again.dvalues));
}

TEST(GpuTextAttention, Float32) {
  for (const Case& c : kCases) compare(c, DType::kF32, true);
}

TEST(GpuTextAttention, BFloat16) {
  for (const Case& c : kCases) compare(c, DType::kBF16, true);
}

TEST(GpuTextAttention, NothingFromLaterSegments) {
  for (const Case& c : kCases) {
    compare(c, DType::kF32, false);
    compare(c, DType::kBF16, false);
  }
}

// The same bytes whatever room there is behind the rows.
TEST(GpuTextAttention, KnowsNothingOfTheCachesEnd) {
  for (const auto& [t, heads] : {std::pair{1, 8}, std::pair{16, 8}, std::pair{200, 8}, std::pair{200, 32}}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      const auto run = [&](std::int64_t capacity) {
        const Case c{2, 2, t, heads, 2, 64, capacity, {static_cast<std::int32_t>(t)}, {150, 0, 63, 64}, {0, 5, 20, 1}};
        const Tensor keys = normal({2, 2, 400, 2, 64}, 1), values = normal({2, 2, 400, 2, 64}, 2);
        const auto longer = [&](const Tensor& rows) {
          const Tensor all = Tensor::zeros(kCpu, c.cache(), DType::kF32);
          for (std::int64_t cell = 0; cell < 4; ++cell) {
            all.select(cell / 2).select(cell % 2).slice(0, 400).copy_from(kCpu, rows.select(cell / 2).select(cell % 2));
          }
          return wt::upload(all, dtype);
        };
        const Tensor out = poisoned(c.out(), dtype);
        text_attention_forward(gpu(), wt::upload(normal(c.qkv(), 3), dtype), c.heads(), upload(c.cells()), longer(keys),
                               longer(values), out, {});
        return out;
      };
      const Tensor first = run(400);
      for (const std::int64_t capacity : {401, 1024, 20'000}) EXPECT_TRUE(same_bytes(run(capacity), first)) << capacity;
    }
  }
}

// Only the kernels see it: they must not touch what lies behind the cache, and the next wait says so.
TEST(GpuTextAttention, ACacheTooShortIsAnError) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const std::int64_t t : {1, 10, 40}) {
      for (const auto& [past, origin] : {std::pair{48, 2}, std::pair{-1, 0}, std::pair{0, -1}}) {
        const auto rows = static_cast<std::int32_t>(t);
        const Case c{1, 1, t, 4, 2, 64, 50, {rows}, {past}, {origin}};
        const Tensor both = wt::upload(normal({2, 1, 1, 50, 2, 64}, 1), dtype), before = both.clone(gpu());
        const Tensor values = wt::upload(normal(c.cache(), 3), dtype), qkv = wt::upload(normal(c.qkv(), 2), dtype);
        text_attention_forward(gpu(), qkv, c.heads(), upload(c.cells()), both.select(0), values,
                               poisoned(c.out(), dtype), {});
        EXPECT_ERROR(gpu().synchronize(), Error, "text attention: a row is beyond the cache of its text");
        EXPECT_TRUE(same_bytes(both, before));
      }
    }
  }
}

// A recorded step serves texts that grow: what is uploaded before a launch says how long they are.
TEST(GpuTextAttention, RecordedWhileTextsGrow) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const auto& [t, heads] : {std::pair{1, 8}, std::pair{12, 8}, std::pair{130, 8}, std::pair{130, 32}}) {
      SCOPED_TRACE(cat(name_of(dtype), ", ", t, " rows, ", heads, " heads"));
      const Case c{2, 1, t, heads, 2, 64, 900, {0}, {0}, {0}};
      const std::int64_t r = 32;
      std::vector<double> by;
      for (std::int64_t i = 0; i < r / 2; ++i) by.push_back(std::pow(1e4, -2.0 * static_cast<double>(i) / r));
      std::vector<float> angles;
      for (std::int64_t row = 0; row < t; ++row) {
        for (const double f : by) angles.push_back(static_cast<float>(std::cos(static_cast<double>(row) * f)));
        for (const double f : by) angles.push_back(static_cast<float>(std::sin(static_cast<double>(row) * f)));
      }
      const Tensor table = wt::upload(Tensor::from<float>({t, r}, angles));
      const Tensor frequencies = Tensor::from<double>(gpu(), {r / 2}, by);
      const Cells cells = upload(c.cells());
      const Tensor rows = wt::upload(normal(c.qkv(), 1), dtype), dout = wt::upload(normal(c.out(), 2), dtype);
      struct Run {
        Tensor qkv, keys, values, out, lse, dkeys, dvalues, dqkv;
      };
      const auto fresh = [&] {
        return Run{Tensor::empty(gpu(), c.qkv(), dtype),         Tensor::zeros(gpu(), c.cache(), dtype),
                   Tensor::zeros(gpu(), c.cache(), dtype),       Tensor::zeros(gpu(), c.out(), dtype),
                   Tensor::zeros(gpu(), c.lse(), DType::kF32),   Tensor::zeros(gpu(), c.cache(), DType::kF32),
                   Tensor::zeros(gpu(), c.cache(), DType::kF32), Tensor::zeros(gpu(), c.qkv(), dtype)};
      };
      const auto work = [&](const Run& run) {
        run.qkv.copy_from(gpu(), rows);
        rotary(gpu(), run.qkv, heads + 2, table, {}, false, {64, frequencies, cells.past});
        text_attention_forward(gpu(), run.qkv, c.heads(), cells, run.keys, run.values, run.out, run.lse);
        text_attention_backward(gpu(), dout, run.qkv, run.out, run.lse, c.heads(), cells, run.keys, run.values,
                                run.dkeys, run.dvalues, run.dqkv);
      };
      const Run recorded = fresh(), plain = fresh();
      work(fresh());  // what libraries prepare
      const Graph graph = Graph::record(gpu(), [&] { work(recorded); });
      ASSERT_TRUE(graph.recorded());
      std::vector<std::int32_t> past{0, 3};
      for (int step = 0; step < 4; ++step) {
        const std::vector<std::int32_t> used{static_cast<std::int32_t>(t), static_cast<std::int32_t>((t + step) / 2)};
        cells.past.copy_from(gpu(), Tensor::from<std::int32_t>({2, 1}, past));
        cells.rows.copy_from(gpu(), Tensor::from<std::int32_t>({2, 1}, used));
        cells.origin.copy_from(gpu(), Tensor::from<std::int32_t>({2, 1}, {0, 40}));
        work(plain);
        graph.launch(gpu());
        EXPECT_TRUE(same_bytes(recorded.qkv, plain.qkv)) << step;
        EXPECT_TRUE(same_bytes(recorded.out, plain.out)) << step;
        EXPECT_TRUE(same_bytes(recorded.keys, plain.keys)) << step;
        EXPECT_TRUE(same_bytes(recorded.dvalues, plain.dvalues)) << step;
        EXPECT_TRUE(same_bytes(recorded.dqkv, plain.dqkv)) << step;
        EXPECT_GT(relative_error(plain.out, Tensor::zeros(kCpu, c.out(), DType::kF32)), 0.1);
        for (std::size_t i = 0; i < 2; ++i) past[i] += used[i] + 7 * step;
      }
    }
  }
}

TEST(GpuTextAttention, NothingToDo) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Case& c : {Case{0, 1, 8, 4, 2, 64, 10, {8}, {0}, {0}}, Case{1, 1, 0, 4, 2, 64, 10, {0}, {0}, {0}}}) {
      const auto empty = [&](const Shape& shape) { return Tensor::empty(gpu(), shape, dtype); };
      const Tensor qkv = empty(c.qkv()), out = empty(c.out()), keys = empty(c.cache()),
                   lse = Tensor::empty(gpu(), c.lse(), DType::kF32);
      const Cells cells = upload(c.cells());
      text_attention_forward(gpu(), qkv, c.heads(), cells, keys, keys, out, lse);
      text_attention_backward(gpu(), out, qkv, out, lse, c.heads(), cells, keys, keys, {}, {}, qkv);
    }
  }
  gpu().synchronize();
}

}  // namespace
}  // namespace wt::kernels
