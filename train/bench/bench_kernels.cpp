// Every kernel of a wave on its own, against the machine's two limits: bytes moved and products per second.
#include <algorithm>
#include <functional>

#include "core/random.h"
#include "core/time_stamp.h"
#include "kernels/activation.h"
#include "kernels/add_norm.h"
#include "kernels/attention.h"
#include "kernels/cast.h"
#include "kernels/dpfp.h"
#include "kernels/linear.h"
#include "kernels/memory.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary.h"
#include "kernels/rows.h"
#include "layers/rotary_table.h"
#include "train/bench/bench.h"

namespace wt {
namespace {

class Bench {
 public:
  Bench(const Stream& stream, DType dtype, const BenchOptions& options)
      : stream_(stream), dtype_(dtype), options_(options) {}

  // Values from a uniform distribution around zero: products on zeros run faster than on numbers.
  Tensor filled(Shape shape, DType dtype) {
    std::vector<float> values(static_cast<std::size_t>(shape.numel()));
    for (std::size_t i = 0; i < values.size(); i += 4) {
      const PhiloxBlock block = philox(1, 0, position_++);
      for (std::size_t j = 0; j < 4 && i + j < values.size(); ++j) {
        values[i + j] = 0.1f * (uniform_float(block.word[j]) - 0.5f);
      }
    }
    return Tensor::from<float>(shape, values).to(stream_, dtype);
  }
  Tensor data(Shape shape) { return filled(shape, dtype_); }
  Tensor wide_data(Shape shape) { return filled(shape, wide(dtype_)); }

  void add(std::string name, double bytes, double flops, const std::function<void()>& work) {
    work();
    std::vector<double> times;
    for (int i = 0; i < std::max(5, options_.repeats); ++i) {
      const TimeStamp begin = time_stamp(stream_);
      for (int j = 0; j < kCalls; ++j) work();
      const TimeStamp end = time_stamp(stream_);
      stream_.synchronize();
      times.push_back(seconds_between(begin, end) / kCalls);
    }
    std::sort(times.begin(), times.end());
    rows_.push_back({std::move(name), times[times.size() / 2], bytes, flops});
  }

  std::vector<KernelRow> take() { return std::move(rows_); }

 private:
  static constexpr int kCalls = 5;
  Stream stream_;
  DType dtype_;
  BenchOptions options_;
  std::uint64_t position_ = 0;
  std::vector<KernelRow> rows_;
};

}  // namespace

std::vector<KernelRow> bench_kernels(const ModelConfig& c, int batch, const Stream& stream, DType dtype,
                                     const BenchOptions& options) {
  Bench bench(stream, dtype, options);
  const ArmtConfig armt =
      c.armt.value_or(ArmtConfig{.segment_size = c.data_segment(), .num_mem_tokens = 1, .d_mem = 1});
  const std::int64_t g = c.num_layers, b = batch, m = armt.num_mem_tokens, t = armt.segment_size + m;
  const std::int64_t d = c.hidden_size, f = c.mlp_width(), k = c.attention().head_width(d), r = b * t;
  const kernels::AttentionHeads heads = c.attention().heads(d);
  const std::int64_t w = heads.row_width(), q = heads.query * k, dm = armt.d_mem, p = armt.num_features();
  const auto size = static_cast<double>(size_of(dtype));
  const auto count = [](std::int64_t a, std::int64_t n, std::int64_t e = 1) {
    return static_cast<double>(a) * static_cast<double>(n) * static_cast<double>(e);
  };
  using kernels::WeightLayout;

  {  // a copy, for the rate that bytes can have
    const Tensor x = bench.data({g, r, d}), y = bench.data({g, r, d});
    bench.add("copy", 2 * count(g, r, d) * size, 0, [&] { y.copy_from(stream, x); });
  }
  const auto linear = [&](const std::string& name, std::int64_t rows, std::int64_t in, std::int64_t out) {
    const Tensor x = bench.data({g, rows, in}), weight = bench.data({g, out, in}), y = bench.data({g, rows, out});
    const Tensor dw = bench.wide_data({g, out, in});
    const double flops = 2 * count(g, rows, in) * static_cast<double>(out);
    const double bytes = (count(g, rows, in) + count(g, rows, out) + count(g, in, out)) * size;
    bench.add("linear " + name, bytes, flops,
              [&] { kernels::linear_forward(stream, x, weight, WeightLayout::kOutIn, {}, {}, y); });
    bench.add("linear " + name + " dx", bytes, flops, [&] {
      kernels::linear_backward_input(stream, y, weight, WeightLayout::kOutIn, x, GradMode::kOverwrite);
    });
    bench.add("linear " + name + " dw", bytes + count(g, in, out) * 4, flops,
              [&] { kernels::linear_backward_weight(stream, y, x, WeightLayout::kOutIn, dw); });
  };
  linear("qkv", r, d, w);
  linear("o", r, q, d);
  linear("gate+up", r, d, 2 * f);
  linear("down", r, f, d);
  linear("memory query", r, d, dm);
  {
    const Tensor qkv = bench.data({g, b, t, w}), out = bench.data({g, b, t, q}), dqkv = bench.data({g, b, t, w});
    const Tensor lse = bench.wide_data({g, b, heads.query, t});
    // The causal half of two products of T² forward and five backward.
    const double flops = 2 * count(g, b, t) * count(t, q), bytes = count(g, r, w + q) * size;
    bench.add("attention", bytes, flops, [&] { kernels::attention_forward(stream, qkv, heads, out, lse); });
    bench.add("attention backward", 2 * bytes, 2.5 * flops,
              [&] { kernels::attention_backward(stream, out, qkv, out, lse, heads, dqkv); });
    const Tensor table = rotary_table(
        stream, rotary_frequencies(c.attention().rope_theta, k, c.attention().rope_scaling), t, wide(dtype));
    bench.add("rotary", 2 * count(g, r, (heads.query + heads.key_value) * k) * size, 0,
              [&] { kernels::rotary(stream, qkv, heads.query + heads.key_value, table, {}, false); });
  }
  {
    const Tensor x = bench.data({g, r, d}), y = bench.data({g, r, d}), weight = bench.wide_data({g, d});
    const Tensor rstd = bench.wide_data({g, r}), dw = bench.wide_data({g, d}), dx = bench.data({g, r, d});
    bench.add("rms_norm", 2 * count(g, r, d) * size, 0,
              [&] { kernels::rms_norm_forward(stream, x, weight, 1e-5, y, rstd); });
    bench.add("rms_norm backward", 4 * count(g, r, d) * size, 0,
              [&] { kernels::rms_norm_backward(stream, y, x, weight, rstd, dx, GradMode::kAccumulate, dw); });
    const Tensor h = bench.data({g, r, d}), ddelta = bench.data({g, r, d});
    bench.add("add_norm", 4 * count(g, r, d) * size, 0,
              [&] { kernels::add_rms_norm_forward(stream, x, y, {}, weight, 1e-5, h, dx, rstd); });
    bench.add("add_norm backward", 5 * count(g, r, d) * size, 0, [&] {
      kernels::add_rms_norm_backward(stream, y, x, weight, rstd, {}, dx, GradMode::kAccumulate, dw, ddelta);
    });
    std::vector<std::int32_t> places(static_cast<std::size_t>(g));  // two kinds in turn
    for (std::int64_t i = 0; i < g; ++i)
      places[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i % 2 == 0 ? i / 2 : (g + 1) / 2 + i / 2);
    const Tensor order = Tensor::from<std::int32_t>(stream, {g}, places);
    bench.add("rms_norm by kind", 2 * count(g, r, d) * size, 0,
              [&] { kernels::rms_norm_forward(stream, x, weight, 1e-5, y, rstd, order); });
    bench.add("add_norm by kind", 4 * count(g, r, d) * size, 0,
              [&] { kernels::add_rms_norm_forward(stream, x, y, order, weight, 1e-5, h, dx, rstd); });
    bench.add("add", 3 * count(g, r, d) * size, 0, [&] { kernels::add(stream, x, y); });
  }
  {
    const Tensor gate_up = bench.data({g, r, 2 * f}), out = bench.data({g, r, f});
    bench.add("swiglu", 3 * count(g, r, f) * size, 0, [&] { kernels::swiglu_forward(stream, gate_up, out); });
    bench.add("swiglu backward", 5 * count(g, r, f) * size, 0,
              [&] { kernels::swiglu_backward(stream, out, gate_up, gate_up); });
  }
  {
    const Tensor x = bench.data({g, b, t, d}), y = bench.data({g, b, t, d}), u = bench.data({g, b, t, dm});
    const Tensor phi = bench.data({g, b, t, p}), du = bench.data({g, b, t, dm}), dphi = bench.data({g, b, t, p});
    const Tensor a = bench.wide_data({g, b, p, d}), z = bench.wide_data({g, b, p}), den = bench.wide_data({g, b, t});
    const Tensor da = bench.wide_data({g, b, p, d}), dz = bench.wide_data({g, b, p});
    const auto cells_count = static_cast<std::size_t>(g * b);
    const kernels::Cells cells{
        Tensor::from<std::uint8_t>(stream, {g, b}, std::vector<std::uint8_t>(cells_count, kernels::kCellActive)),
        Tensor::from<std::int32_t>(stream, {g, b},
                                   std::vector<std::int32_t>(cells_count, static_cast<std::int32_t>(t)))};
    const double state = count(g * b, p, d);
    bench.add("dpfp", count(g, r, dm + p) * size, 0, [&] { kernels::dpfp_forward(stream, u, armt.nu, phi); });
    bench.add("dpfp backward", count(g, r, 2 * dm + p) * size, 0,
              [&] { kernels::dpfp_backward(stream, dphi, u, armt.nu, du); });
    bench.add("memory read", (2 * count(g, r, d) + count(g, r, p)) * size + 4 * state, 2 * count(g, r, p) * count(1, d),
              [&] { kernels::memory_read_forward(stream, x, phi, a, z, cells, y, den, {}); });
    bench.add("memory read backward", (2 * count(g, r, d) + 2 * count(g, r, p)) * size + 12 * state,
              4 * count(g, r, p) * count(1, d), [&] {
                kernels::memory_read_backward(stream, y, phi, a, z, den, cells, dphi, da, dz, GradMode::kAccumulate);
              });
    const Tensor key = bench.data({g, b, m, p}), value = bench.data({g, b, m, d}), logit = bench.data({g, b, m});
    const kernels::MemoryWrite saved{bench.data({g, b, m, d}), bench.wide_data({g, b, m}), bench.wide_data({g, b, m})};
    const Tensor dk = bench.data({g, b, m, p}), dv = bench.data({g, b, m, d}), db = bench.data({g, b, m});
    bench.add("memory write", 8 * state + count(g * b, m, 2 * d + p) * size, 4 * count(g * b, m, p) * count(1, d),
              [&] { kernels::memory_write_forward(stream, key, value, logit, a, z, cells, true, a, z, saved, {}); });
    bench.add("memory write backward", 12 * state + 2 * count(g * b, m, 2 * d + p) * size,
              8 * count(g * b, m, p) * count(1, d),
              [&] { kernels::memory_write_backward(stream, key, logit, a, z, saved, cells, da, dz, dk, dv, db); });
  }
  return bench.take();
}

}  // namespace wt
