// The kernels between the two projections of Mamba-2's mixer: convolution, scan, gated norm. In float32 they agree with
// the CPU's to rounding, in bfloat16 with the CPU's float32 on the rounded inputs. Padding is NaN wherever it must not
// be read.
#include <cmath>
#include <functional>
#include <limits>

#include "kernels/causal_conv.h"
#include "kernels/gated_norm.h"
#include "kernels/ssd.h"
#include "tests/support/gpu.h"
#include "tests/support/tolerances.h"

namespace wt::kernels {
namespace {

const Stream kCpu;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

double tolerance(DType dtype) {
  return dtype == DType::kF32 ? kGpuF32 : kGpuBF16;
}

// Runs on the CPU in f32 or on the GPU, whichever `put` moves tensors to. Outputs are poisoned on the GPU.
struct Place {
  const Stream& stream;
  DType dtype;
  bool is_gpu() const { return stream.device().is_cuda(); }
  Tensor data(const Tensor& t) const { return is_gpu() ? upload(t, dtype) : t.clone(kCpu); }
  Tensor wide(const Tensor& t) const { return is_gpu() ? upload(t) : t.clone(kCpu); }
  Tensor fresh(Shape shape) const {
    return is_gpu() ? poisoned(shape, dtype) : Tensor::zeros(kCpu, shape, DType::kF32);
  }
  Tensor fresh_wide(Shape shape) const {
    return is_gpu() ? poisoned(shape, DType::kF32) : Tensor::zeros(kCpu, shape, DType::kF32);
  }
  Cells cells(const Cells& c) const { return is_gpu() ? Cells{upload(c.flags), upload(c.rows)} : c; }
};

// Rows of a cell: all, one less, none, two thirds, …
Cells ragged(std::int64_t g, std::int64_t b, std::int64_t t, bool whole) {
  std::vector<std::uint8_t> flags;
  std::vector<std::int32_t> rows;
  for (std::int64_t i = 0; i < g * b; ++i) {
    const std::int64_t sorts[] = {t, t - 1, 0, (2 * t + 2) / 3};
    const auto used = static_cast<std::int32_t>(whole ? t : sorts[i % 4]);
    rows.push_back(used);
    flags.push_back(used > 0 ? kCellActive : 0);
  }
  return {Tensor::from<std::uint8_t>({g, b}, flags), Tensor::from<std::int32_t>({g, b}, rows)};
}

// x (G, B, T, …) in f32 on the CPU with all rows beyond cells.rows filled.
Tensor padded(const Tensor& x, const Cells& cells, float with) {
  const Tensor out = x.clone(kCpu);
  if (x.numel() == 0) return out;
  const std::int64_t t = x.dim(2), width = x.numel() / (x.dim(0) * x.dim(1) * t);
  for (std::int64_t cell = 0; cell < x.dim(0) * x.dim(1); ++cell) {
    float* const from = out.data<float>() + (cell * t + cells.rows.data<std::int32_t>()[cell]) * width;
    std::fill(from, out.data<float>() + (cell + 1) * t * width, with);
  }
  return out;
}

// Columns [from, to) of the last extent, in f32 on the CPU.
Tensor columns(const Tensor& x, std::int64_t from, std::int64_t to) {
  const Tensor all = x.to_cpu(gpu()).to(kCpu, DType::kF32);
  const std::int64_t width = all.shape()[-1], rows = all.numel() / width;
  const Tensor out = Tensor::empty(kCpu, {rows, to - from}, DType::kF32);
  for (std::int64_t r = 0; r < rows; ++r) {
    std::copy(all.data<float>() + r * width + from, all.data<float>() + r * width + to,
              out.data<float>() + r * (to - from));
  }
  return out;
}

bool all_zero(const Tensor& x) {
  const auto values = x.to_cpu(gpu()).to(kCpu, DType::kF32).to_vector<float>();
  return std::all_of(values.begin(), values.end(), [](float v) { return v == 0; });
}
bool all_nan(const Tensor& x) {
  const auto values = x.to_cpu(gpu()).to(kCpu, DType::kF32).to_vector<float>();
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isnan(v); });
}

struct Named {
  std::string name;
  Tensor value;
  double slack = 1;  // of the tolerance
};

void expect_close(const std::vector<Named>& got, const std::vector<Named>& want, DType dtype) {
  ASSERT_EQ(got.size(), want.size());
  const auto size = [](const Tensor& t) { return relative_error(t, Tensor::zeros(kCpu, t.shape(), DType::kF32)); };
  for (std::size_t i = 0; i < got.size(); ++i) {
    // What a head that forgets has kept is beyond the numbers of full precision.
    if (size(want[i].value) < 1e-30) {
      EXPECT_LT(size(got[i].value), 1e-29) << got[i].name;
      continue;
    }
    EXPECT_LT(relative_error(got[i].value, want[i].value), want[i].slack * tolerance(dtype)) << got[i].name;
  }
}
void expect_same(const std::vector<Named>& a, const std::vector<Named>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same_bytes(a[i].value, b[i].value)) << a[i].name;
}

// ---- The convolution ----

struct ConvSizes {
  std::int64_t g, b, t, e, k, column, more;  // columns of the matrix before and after the block
  std::int64_t width() const { return column + e + more; }
};

struct ConvInputs {
  ConvInputs(const ConvSizes& s, DType dtype, bool whole)
      : cells(ragged(s.g, s.b, s.t, whole)),
        x(normal({s.g, s.b, s.t, s.width()}, 1)),
        w(normal({s.g, s.e, s.k}, 2)),
        bias(normal({s.g, s.e}, 3)),
        tail(normal({s.g, s.b, s.k - 1, s.e}, 4)),
        dy(normal({s.g, s.b, s.t, s.e}, 5)),
        dtail_out(normal({s.g, s.b, s.k - 1, s.e}, 6)),
        dw(normal({s.g, s.e, s.k}, 7)),
        dbias(normal({s.g, s.e}, 8)) {
    if (dtype == DType::kBF16) {
      for (Tensor* t : {&x, &w, &tail, &dy, &dtail_out}) *t = rounded(*t);
    }
    x = padded(x, cells, kNaN);
    dy = padded(dy, cells, kNaN);
  }
  Cells cells;
  Tensor x, w, bias, tail, dy, dtail_out, dw, dbias;
};

std::vector<Named> run_conv(const ConvSizes& s, const ConvInputs& in, const Place& at, bool wide_weights) {
  const Cells cells = at.cells(in.cells);
  const Tensor x = at.data(in.x), bias = at.wide(in.bias), tail = at.data(in.tail), dy = at.data(in.dy);
  const Tensor w = wide_weights ? at.wide(in.w) : at.data(in.w);
  const Tensor y = at.fresh(in.dy.shape()), tail_out = at.fresh(in.tail.shape());
  causal_conv_forward(at.stream, x, s.column, w, bias, tail, cells, y, tail_out);
  const Tensor plain = at.fresh(in.dy.shape()), shifted = at.data(in.tail);
  causal_conv_forward(at.stream, x, s.column, w, {}, shifted, cells, plain, shifted);

  const Tensor dx = at.fresh(in.x.shape()), dw = at.wide(in.dw), dbias = at.wide(in.dbias);
  const Tensor dtail = at.data(in.dtail_out);
  causal_conv_backward(at.stream, dy, x, s.column, w, bias, tail, cells, dtail, dx, dw, dbias, dtail);
  const Tensor frozen = at.fresh(in.x.shape()), no_dtail = at.fresh(in.tail.shape());
  causal_conv_backward(at.stream, dy, x, s.column, w, bias, tail, cells, {}, frozen, {}, {}, no_dtail);
  const Tensor lone = at.fresh(in.x.shape());
  causal_conv_backward(at.stream, dy, x, s.column, w, bias, tail, cells, {}, lone, {}, {}, {});

  if (at.is_gpu()) {
    for (const Tensor& t : {dx, frozen, lone}) {
      EXPECT_TRUE(all_nan(columns(t, 0, s.column))) << "columns before the block";
      EXPECT_TRUE(all_nan(columns(t, s.column + s.e, s.width()))) << "columns after the block";
    }
    EXPECT_TRUE(same_bytes(columns(lone, s.column, s.column + s.e), columns(frozen, s.column, s.column + s.e)));
    EXPECT_TRUE(same_bytes(shifted, tail_out)) << "in place";
  }
  const auto rows_of = [&](const Tensor& t) { return padded(t.to_cpu(gpu()).to(kCpu, DType::kF32), in.cells, 0); };
  return {{"y", rows_of(y)},
          {"y without a bias", rows_of(plain)},
          {"tail_out", tail_out},
          {"dx", columns(dx, s.column, s.column + s.e)},
          {"dx, nothing behind", columns(frozen, s.column, s.column + s.e)},
          {"dw", dw},
          {"dbias", dbias},
          {"dtail", dtail},
          {"dtail, nothing behind", no_dtail}};
}

const ConvSizes kConvSizes[] = {{2, 2, 1, 24, 4, 8, 0},    {2, 2, 2, 24, 4, 8, 8},     {2, 2, 3, 17, 4, 3, 2},
                                {1, 4, 33, 40, 4, 0, 16},  {2, 2, 70, 16, 2, 16, 0},   {1, 4, 65, 48, 3, 16, 8},
                                {1, 4, 40, 9, 6, 2, 1},    {3, 1, 300, 64, 4, 64, 64}, {1, 2, 129, 352, 4, 256, 0},
                                {2, 2, 129, 1040, 4, 8, 8}};

TEST(GpuCausalConv, AgreesWithTheCpu) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const ConvSizes& s : kConvSizes) {
      for (const bool wide_weights : {false, true}) {
        SCOPED_TRACE(cat("G ", s.g, " B ", s.b, " T ", s.t, " E ", s.e, " K ", s.k, " ", name_of(dtype)));
        const ConvInputs in(s, dtype, false);
        const auto want = run_conv(s, in, {kCpu, DType::kF32}, wide_weights);
        const auto got = run_conv(s, in, {gpu(), dtype}, wide_weights);
        expect_close(got, want, dtype);
        expect_same(got, run_conv(s, in, {gpu(), dtype}, wide_weights));
      }
    }
  }
}

TEST(GpuCausalConv, NoRowsPassTheTail) {
  const ConvSizes s{2, 2, 0, 16, 4, 8, 0};
  const ConvInputs in(s, DType::kF32, true);
  for (const Named& n : run_conv(s, in, {gpu(), DType::kF32}, false)) {
    if (n.name == "tail_out") EXPECT_TRUE(same_bytes(n.value, in.tail));
    if (n.name == "dtail") EXPECT_TRUE(same_bytes(n.value, in.dtail_out));
    if (n.name == "dtail, nothing behind") EXPECT_TRUE(all_zero(n.value));
    if (n.name == "dw") EXPECT_TRUE(same_bytes(n.value, in.dw));
  }
}

// ---- The scan ----

struct SsdSizes {
  std::int64_t g, b, t;
  SsdShape shape;
};

struct SsdInputs {
  SsdInputs(const SsdSizes& s, DType dtype, bool whole)
      : cells(ragged(s.g, s.b, s.t, whole)),
        xbc(normal({s.g, s.b, s.t, s.shape.columns()}, 1)),
        dt(normal({s.g, s.b, s.t, s.shape.heads}, 2)),
        a_log(normal({s.g, s.shape.heads}, 3)),
        d(normal({s.g, s.shape.heads}, 4)),
        dt_bias(normal({s.g, s.shape.heads}, 5)),
        s(normal({s.g, s.b, s.shape.heads, s.shape.width, s.shape.state}, 6)),
        dy(normal({s.g, s.b, s.t, s.shape.inner()}, 7)),
        ds_out(normal({s.g, s.b, s.shape.heads, s.shape.width, s.shape.state}, 8)) {
    // Memories of many lengths; the last head of all forgets within a row.
    for (std::int64_t i = 0; i < a_log.numel(); ++i) {
      a_log.data<float>()[i] = static_cast<float>(-4.0 + 6.5 * static_cast<double>(i % 5) / 4);
      dt_bias.data<float>()[i] -= 1;
    }
    a_log.data<float>()[a_log.numel() - 1] = std::log(200.0f);
    if (dtype == DType::kBF16) {
      for (Tensor* t : {&xbc, &dy}) *t = rounded(*t);
    }
    for (Tensor* t : {&xbc, &dt, &dy}) *t = padded(*t, cells, kNaN);
  }
  Cells cells;
  Tensor xbc, dt, a_log, d, dt_bias, s, dy, ds_out;
};

// By heads: errors of one that remembers long would hide those of the others.
void add_heads(std::vector<Named>& all, const std::string& name, const Tensor& x, std::int64_t heads, double slack) {
  const std::int64_t width = x.shape()[-1] / heads;
  for (std::int64_t h = 0; h < heads; ++h) {
    all.push_back({cat(name, " of head ", h), columns(x, h * width, (h + 1) * width), slack});
  }
}

std::vector<Named> run_ssd(const SsdSizes& s, const SsdInputs& in, const Place& at) {
  const Cells cells = at.cells(in.cells);
  const SsdShape& shape = s.shape;
  const Tensor xbc = at.data(in.xbc), dt = at.wide(in.dt), state = at.wide(in.s), dy = at.data(in.dy);
  const SsdWeights weights{at.wide(in.a_log), at.wide(in.d), at.wide(in.dt_bias)};
  const Tensor y = at.fresh(in.dy.shape()), s_out = at.fresh_wide(in.s.shape());
  ssd_forward(at.stream, xbc, dt, weights, shape, state, cells, y, s_out);
  const Tensor again = at.fresh(in.dy.shape()), in_place = at.wide(in.s);
  ssd_forward(at.stream, xbc, dt, weights, shape, in_place, cells, again, in_place);

  const Tensor dxbc = at.fresh(in.xbc.shape()), ddt = at.fresh_wide(in.dt.shape()), ds = at.wide(in.ds_out);
  const SsdWeights dweights{at.wide(in.d), at.wide(in.dt_bias), at.wide(in.a_log)};
  ssd_backward(at.stream, dy, xbc, dt, weights, shape, state, cells, ds, dxbc, ddt, dweights, ds);
  const Tensor frozen = at.fresh(in.xbc.shape()), frozen_dt = at.fresh_wide(in.dt.shape());
  const Tensor no_ds = at.fresh_wide(in.s.shape());
  ssd_backward(at.stream, dy, xbc, dt, weights, shape, state, cells, {}, frozen, frozen_dt, {}, no_ds);
  const Tensor lone = at.fresh(in.xbc.shape());
  ssd_backward(at.stream, dy, xbc, dt, weights, shape, state, cells, {}, lone, frozen_dt, {}, {});

  if (at.is_gpu()) {
    EXPECT_TRUE(same_bytes(in_place, s_out)) << "in place";
    EXPECT_TRUE(same_bytes(again, y)) << "in place";
    EXPECT_TRUE(same_bytes(lone, frozen));
  }
  const auto rows_of = [&](const Tensor& t) { return padded(t.to_cpu(gpu()).to(kCpu, DType::kF32), in.cells, 0); };
  std::vector<Named> out;
  add_heads(out, "y", rows_of(y), shape.heads, 1);
  add_heads(out, "s_out", s_out.reshape({s.g * s.b, shape.inner() * shape.state}), shape.heads, 1);
  const std::int64_t inner = shape.inner(), groups = shape.groups * shape.state;
  for (const auto& [name, t] : {std::pair{"", dxbc}, std::pair{", nothing behind", frozen}}) {
    add_heads(out, cat("dx", name), columns(t, 0, inner), shape.heads, 1);
    out.push_back({cat("db", name), columns(t, inner, inner + groups)});
    out.push_back({cat("dc", name), columns(t, inner + groups, inner + 2 * groups)});
  }
  add_heads(out, "ds", ds.reshape({s.g * s.b, shape.inner() * shape.state}), shape.heads, 1);
  add_heads(out, "ds, nothing behind", no_ds.reshape({s.g * s.b, shape.inner() * shape.state}), shape.heads, 1);
  // Sums of numbers of both signs: what is left is smaller than what was rounded.
  out.push_back({"ddt", ddt, 3});
  out.push_back({"ddt, nothing behind", frozen_dt, 3});
  out.push_back({"da_log", dweights.a_log, 5});
  out.push_back({"dd", dweights.d, 5});
  out.push_back({"ddt_bias", dweights.dt_bias, 5});
  return out;
}

SsdShape shape_of(std::int64_t heads, std::int64_t width, std::int64_t state, std::int64_t groups) {
  SsdShape shape;
  shape.heads = heads;
  shape.width = width;
  shape.state = state;
  shape.groups = groups;
  return shape;
}

std::vector<SsdSizes> ssd_sizes() {
  std::vector<SsdSizes> sizes;
  const SsdShape odd = shape_of(4, 16, 5, 2), real = shape_of(4, 64, 128, 1);
  for (const std::int64_t t : {1, 3, 63, 64, 65, 300}) {
    sizes.push_back({2, 2, t, odd});
    sizes.push_back({2, 2, t, real});
  }
  sizes.push_back({1, 1, 1024, real});
  sizes.push_back({1, 2, 9000, shape_of(2, 64, 128, 1)});  // long enough to be split
  sizes.push_back({1, 4, 130, shape_of(3, 64, 128, 1)});  // a head is left over
  sizes.push_back({1, 4, 130, shape_of(4, 64, 64, 2)});
  sizes.push_back({1, 4, 130, shape_of(3, 64, 16, 3)});
  sizes.push_back({1, 4, 130, shape_of(4, 32, 48, 2)});
  sizes.push_back({1, 4, 130, shape_of(2, 80, 128, 1)});
  sizes.push_back({1, 4, 130, shape_of(2, 128, 256, 1)});
  sizes.push_back({1, 4, 130, shape_of(2, 64, 256, 2)});
  sizes.push_back({1, 4, 70, shape_of(2, 7, 300, 1)});
  sizes.push_back({2, 2, 130, shape_of(40, 64, 128, 2)});  // more heads of a group than a block takes
  return sizes;
}

TEST(GpuSsd, AgreesWithTheCpu) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const SsdSizes& s : ssd_sizes()) {
      SCOPED_TRACE(cat("G ", s.g, " B ", s.b, " T ", s.t, " H ", s.shape.heads, " P ", s.shape.width, " N ",
                       s.shape.state, " R ", s.shape.groups, " ", name_of(dtype)));
      const SsdInputs in(s, dtype, false);
      const auto want = run_ssd(s, in, {kCpu, DType::kF32});
      const auto got = run_ssd(s, in, {gpu(), dtype});
      expect_close(got, want, dtype);
      expect_same(got, run_ssd(s, in, {gpu(), dtype}));
    }
  }
}

TEST(GpuSsd, StepsHaveLimits) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const std::int64_t t : {1, 130}) {
      SsdSizes s{1, 4, t, shape_of(4, 64, 128, 1)};
      s.shape.least = 0.1;
      s.shape.most = 0.5;
      const SsdInputs in(s, dtype, false);
      expect_close(run_ssd(s, in, {gpu(), dtype}), run_ssd(s, in, {kCpu, DType::kF32}), dtype);
    }
  }
}

// Rows of padding get no gradient, and cells without rows keep their state bit by bit.
TEST(GpuSsd, PaddingIsExact) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const SsdSizes s{1, 4, 130, shape_of(4, 64, 128, 1)};
    const SsdInputs in(s, dtype, false);
    const Place at{gpu(), dtype};
    const Tensor xbc = at.data(in.xbc), dt = at.wide(in.dt), state = at.wide(in.s), dy = at.data(in.dy);
    const SsdWeights weights{at.wide(in.a_log), at.wide(in.d), at.wide(in.dt_bias)};
    const Tensor y = at.fresh(in.dy.shape()), s_out = at.fresh_wide(in.s.shape());
    const Cells cells = at.cells(in.cells);
    ssd_forward(at.stream, xbc, dt, weights, s.shape, state, cells, y, s_out);
    const Tensor dxbc = at.fresh(in.xbc.shape()), ddt = at.fresh_wide(in.dt.shape()), ds = at.wide(in.ds_out);
    ssd_backward(at.stream, dy, xbc, dt, weights, s.shape, state, cells, ds, dxbc, ddt, {}, ds);
    for (std::int64_t i = 0; i < s.b; ++i) {
      const std::int64_t used = in.cells.rows.data<std::int32_t>()[i];
      const auto rest = [&](const Tensor& t) { return t.to_cpu(gpu()).select(0).select(i).slice(used, s.t); };
      EXPECT_TRUE(all_zero(rest(y)));
      EXPECT_TRUE(all_zero(rest(dxbc)));
      EXPECT_TRUE(all_zero(rest(ddt)));
    }
    const auto cell = [&](const Tensor& t) { return t.to_cpu(gpu()).select(0).select(2); };
    EXPECT_TRUE(same_bytes(cell(s_out), cell(in.s)));
    EXPECT_TRUE(same_bytes(cell(ds), cell(in.ds_out)));
  }
}

TEST(GpuSsd, NoRows) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const SsdSizes s{2, 2, 0, shape_of(4, 64, 128, 1)};
    const SsdInputs in(s, dtype, true);
    const Place at{gpu(), dtype};
    const SsdWeights weights{at.wide(in.a_log), at.wide(in.d), at.wide(in.dt_bias)};
    const Tensor state = at.wide(in.s), ds = at.wide(in.ds_out), da_log = at.wide(in.d);
    const Tensor xbc = at.data(in.xbc), dt = at.wide(in.dt), y = at.data(in.dy);
    ssd_forward(at.stream, xbc, dt, weights, s.shape, state, at.cells(in.cells), y, state);
    EXPECT_TRUE(same_bytes(state, in.s));
    ssd_backward(at.stream, y, xbc, dt, weights, s.shape, state, at.cells(in.cells), ds, xbc.clone(gpu()),
                 dt.clone(gpu()), {da_log, {}, {}}, ds);
    EXPECT_TRUE(same_bytes(ds, in.ds_out));
    EXPECT_TRUE(same_bytes(da_log, in.d));
  }
}

// A sample's numbers are the same alone and among others.
TEST(GpuSsd, BatchDoesNotMatter) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const SsdSizes s{2, 4, 200, shape_of(6, 64, 128, 2)};
    const SsdInputs in(s, dtype, false);
    const auto run = [&](std::int64_t layer, std::int64_t from, std::int64_t count) {
      const auto part = [&](const Tensor& t) { return t.select(layer).slice(from, from + count); };
      const auto with_layer = [&](const Tensor& t) {
        const Tensor p = part(t);
        return p.reshape(p.shape().rank() == 3   ? Shape{1, p.dim(0), p.dim(1), p.dim(2)}
                         : p.shape().rank() == 4 ? Shape{1, p.dim(0), p.dim(1), p.dim(2), p.dim(3)}
                                                 : Shape{1, p.dim(0)});
      };
      const Place at{gpu(), dtype};
      const auto weight = [&](const Tensor& t) { return at.wide(t.slice(layer, layer + 1)); };
      const SsdWeights weights{weight(in.a_log), weight(in.d), weight(in.dt_bias)};
      const Cells cells{upload(with_layer(in.cells.flags)), upload(with_layer(in.cells.rows))};
      const Tensor xbc = at.data(with_layer(in.xbc)), dt = at.wide(with_layer(in.dt)), dy = at.data(with_layer(in.dy));
      const Tensor state = at.wide(with_layer(in.s)), y = at.fresh(dy.shape()), s_out = at.fresh_wide(state.shape());
      ssd_forward(gpu(), xbc, dt, weights, s.shape, state, cells, y, s_out);
      const Tensor dxbc = at.fresh(xbc.shape()), ddt = at.fresh_wide(dt.shape()), ds = at.wide(with_layer(in.ds_out));
      ssd_backward(gpu(), dy, xbc, dt, weights, s.shape, state, cells, ds, dxbc, ddt, {}, ds);
      return std::vector<Named>{{"y", y}, {"s_out", s_out}, {"dxbc", dxbc}, {"ddt", ddt}, {"ds", ds}};
    };
    const auto all = run(1, 0, 4);
    for (std::int64_t i = 0; i < 4; ++i) {
      const auto alone = run(1, i, 1);
      for (std::size_t k = 0; k < all.size(); ++k) {
        EXPECT_TRUE(same_bytes(alone[k].value.to_cpu(gpu()).select(0).select(0),
                               all[k].value.to_cpu(gpu()).select(0).select(i)))
            << all[k].name;
      }
    }
  }
}

// ---- The gated norm ----

struct GateSizes {
  std::int64_t g, b, t, i, more;  // columns of the matrix behind the block
  std::int64_t groups;
};

std::vector<Named> run_gate(const GateSizes& s, DType dtype, const Place& at, bool norm_first) {
  const GatedNorm norm{s.groups, 1e-5, norm_first};
  const Shape wide{s.g, s.b, s.t, s.i + s.more};
  const auto draw = [&](Shape shape, std::uint64_t seed) {
    const Tensor x = normal(shape, seed);
    return at.data(dtype == DType::kBF16 ? rounded(x) : x);
  };
  const Tensor y = draw({s.g, s.b, s.t, s.i}, 1), z = draw(wide, 2), dout = draw(y.shape(), 3);
  const Tensor w = at.wide(normal({s.g, s.i}, 4));
  const Tensor o = at.fresh(y.shape()), rstd = at.fresh_wide({s.g, s.b, s.t, s.groups});
  gated_norm_forward(at.stream, y, z, w, norm, o, rstd);
  const Tensor over = y.clone(at.stream), rstd_again = at.fresh_wide(rstd.shape());
  gated_norm_forward(at.stream, over, z, w, norm, over, rstd_again);
  const Tensor dy = at.fresh(y.shape()), dz = at.fresh(wide), dw = at.wide(normal({s.g, s.i}, 5));
  gated_norm_backward(at.stream, dout, y, z, w, rstd, norm, dy, dz, dw);
  const Tensor dy_over = dout.clone(at.stream), dz_again = at.fresh(wide);
  gated_norm_backward(at.stream, dy_over, y, z, w, rstd, norm, dy_over, dz_again, {});
  if (at.is_gpu()) {
    EXPECT_TRUE(same_bytes(over, o) && same_bytes(rstd, rstd_again) && same_bytes(dy_over, dy)) << "in place";
    EXPECT_TRUE(same_bytes(columns(dz, 0, s.i), columns(dz_again, 0, s.i)));
    EXPECT_TRUE(all_nan(columns(dz, s.i, s.i + s.more))) << "columns behind the block";
  }
  return {{"o", o}, {"rstd", rstd}, {"dy", dy}, {"dz", columns(dz, 0, s.i)}, {"dw", dw}};
}

TEST(GpuGatedNorm, AgreesWithTheCpu) {
  const GateSizes sizes[] = {{2, 2, 1, 64, 8, 1},     {2, 2, 9, 64, 24, 4},   {1, 2, 33, 30, 5, 3},
                             {2, 1, 40, 1536, 8, 1},  {1, 2, 20, 2048, 0, 8}, {2, 2, 33, 4096, 4352, 1},
                             {1, 1, 20, 8192, 16, 1}, {1, 1, 9, 5120, 16, 2}};
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const GateSizes& s : sizes) {
      for (const bool norm_first : {false, true}) {
        SCOPED_TRACE(cat("T ", s.t, " I ", s.i, " R ", s.groups, " norm first ", norm_first, " ", name_of(dtype)));
        const auto got = run_gate(s, dtype, {gpu(), dtype}, norm_first);
        expect_close(got, run_gate(s, dtype, {kCpu, DType::kF32}, norm_first), dtype);
        expect_same(got, run_gate(s, dtype, {gpu(), dtype}, norm_first));
      }
    }
  }
}

}  // namespace
}  // namespace wt::kernels
