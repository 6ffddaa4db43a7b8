// Benchmarks of the CPU kernels in float32, at the shapes of a tiny model (D 128, trained in minutes on two cores) and
// of a small one (D 768, the 160M shape). Counters:
//   GFLOP/s  arithmetic of the formula, an exponential counted as one operation
//   share    of the machine's matrix rate: the product of two 1024×1024 matrices, measured at the start of the same run
//   GB/s     bytes that the kernel must read and write once, for kernels that compute little
// OMP_NUM_THREADS sets the number of threads.
#include <benchmark/benchmark.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <string>
#include <vector>

#include "core/random.h"
#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/causal_conv.h"
#include "kernels/cross_entropy.h"
#include "kernels/dpfp.h"
#include "kernels/gated_norm.h"
#include "kernels/layer_norm.h"
#include "kernels/linear.h"
#include "kernels/memory.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary.h"
#include "kernels/ssd.h"

namespace wt::kernels {
namespace {

const Stream kStream;
double machine_flops = 0;  // per second

Tensor normal(const Shape& shape) {
  const Tensor out = Tensor::empty(kStream, shape, DType::kF32);
  RandomStream random(1, random_stream(RandomPurpose::kTest, 9));
  for (std::int64_t i = 0; i < out.numel(); ++i) out.data<float>()[i] = static_cast<float>(random.uniform() - 0.5);
  return out;
}

Tensor positive(const Shape& shape) {
  const Tensor out = normal(shape);
  for (std::int64_t i = 0; i < out.numel(); ++i) out.data<float>()[i] += 0.6f;
  return out;
}

Tensor empty(const Shape& shape) {
  return Tensor::zeros(kStream, shape, DType::kF32);
}

// What one call costs.
struct Work {
  double flops = 0;
  double bytes = 0;
};

template <class Body>
void measure(benchmark::State& state, const Work& work, const Body& body) {
  for (auto _ : state) {
    body();
    benchmark::ClobberMemory();
  }
  const double calls = static_cast<double>(state.iterations());
  state.counters["GFLOP/s"] = benchmark::Counter(work.flops * calls * 1e-9, benchmark::Counter::kIsRate);
  if (work.bytes > 0)
    state.counters["GB/s"] = benchmark::Counter(work.bytes * calls * 1e-9, benchmark::Counter::kIsRate);
  state.counters["share"] = benchmark::Counter(work.flops * calls / machine_flops, benchmark::Counter::kIsRate);
}

// With one thread rates are by CPU time, which other programs on the machine disturb little; with more by the clock.
template <class Run>
void add(const std::string& name, const Run& run) {
  benchmark::internal::Benchmark* entry = benchmark::RegisterBenchmark(name.c_str(), run);
  if (omp_get_max_threads() > 1) entry->UseRealTime();
}

double seconds_now() {
  if (omp_get_max_threads() == 1) return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void measure_machine() {
  const Tensor a = normal({1, 1024, 1024}), b = normal({1, 1024, 1024}), c = empty({1, 1024, 1024});
  for (int run = 0; run < 20; ++run) {
    const double begin = seconds_now();
    linear_forward(kStream, a, b, WeightLayout::kOutIn, {}, {}, c);
    machine_flops = std::max(machine_flops, 2.0 * 1024 * 1024 * 1024 / (seconds_now() - begin));
  }
}

// G layers, R rows, I inputs, O outputs.
void add_linear(const char* name, std::int64_t g, std::int64_t r, std::int64_t in, std::int64_t out) {
  const Work work{2.0 * static_cast<double>(g * r * in * out), 0};
  const std::string shape =
      std::to_string(g) + "x" + std::to_string(r) + "x" + std::to_string(in) + "x" + std::to_string(out);
  const auto title = [&](const char* what) { return std::string("linear/") + name + "/" + what + "/" + shape; };
  add(title("forward"), [=](benchmark::State& state) {
    const Tensor x = normal({g, r, in}), w = normal({g, out, in}), y = empty({g, r, out});
    measure(state, work, [&] { linear_forward(kStream, x, w, WeightLayout::kOutIn, {}, {}, y); });
  });
  add(title("input_grad"), [=](benchmark::State& state) {
    const Tensor dx = empty({g, r, in}), w = normal({g, out, in}), dy = normal({g, r, out});
    measure(state, work,
            [&] { linear_backward_input(kStream, dy, w, WeightLayout::kOutIn, dx, GradMode::kOverwrite); });
  });
  add(title("weight_grad"), [=](benchmark::State& state) {
    const Tensor x = normal({g, r, in}), dw = empty({g, out, in}), dy = normal({g, r, out});
    measure(state, work, [&] { linear_backward_weight(kStream, dy, x, WeightLayout::kOutIn, dw); });
  });
}

void add_attention(std::int64_t g, std::int64_t b, std::int64_t t, const AttentionHeads& heads) {
  // Two products over half the square, forward; five of them backward.
  const double half = static_cast<double>(g * b * heads.query * t * (t + 1) / 2 * heads.width);
  const std::string shape = std::to_string(g) + "x" + std::to_string(b) + "x" + std::to_string(t) + "x" +
                            std::to_string(heads.query) + "x" + std::to_string(heads.width);
  add(("attention/forward/" + shape), [=](benchmark::State& state) {
    const Tensor qkv = normal({g, b, t, heads.row_width()}), out = empty({g, b, t, heads.query * heads.width}),
                 lse = empty({g, b, heads.query, t});
    measure(state, {4 * half}, [&] { attention_forward(kStream, qkv, heads, out, lse); });
  });
  add(("attention/backward/" + shape), [=](benchmark::State& state) {
    const Tensor qkv = normal({g, b, t, heads.row_width()}), out = empty({g, b, t, heads.query * heads.width}),
                 lse = empty({g, b, heads.query, t}), dout = normal(out.shape()), dqkv = empty(qkv.shape());
    attention_forward(kStream, qkv, heads, out, lse);
    measure(state, {10 * half}, [&] { attention_backward(kStream, dout, qkv, out, lse, heads, dqkv); });
  });
}

void add_rowwise(std::int64_t g, std::int64_t r, std::int64_t d, std::int64_t f) {
  const double n = static_cast<double>(g * r * d), wide = static_cast<double>(g * r * f);
  const std::string shape = "/" + std::to_string(g) + "x" + std::to_string(r) + "x";
  const std::string narrow = shape + std::to_string(d), hidden = shape + std::to_string(f);
  add(("rms_norm/forward" + narrow), [=](benchmark::State& state) {
    const Tensor x = normal({g, r, d}), w = normal({g, d}), y = empty({g, r, d}), scale = empty({g, r});
    measure(state, {4 * n, 8 * n}, [&] { rms_norm_forward(kStream, x, w, 1e-5, y, scale); });
  });
  add(("rms_norm/backward" + narrow), [=](benchmark::State& state) {
    const Tensor x = normal({g, r, d}), w = normal({g, d}), dy = normal({g, r, d}), dx = empty({g, r, d}),
                 scale = positive({g, r}), dw = empty({g, d});
    measure(state, {10 * n, 16 * n},
            [&] { rms_norm_backward(kStream, dy, x, w, scale, dx, GradMode::kAccumulate, dw); });
  });
  add(("layer_norm/forward" + narrow), [=](benchmark::State& state) {
    const Tensor x = normal({g, r, d}), w = normal({g, d}), b = normal({g, d}), y = empty({g, r, d}),
                 mean = empty({g, r}), scale = empty({g, r});
    measure(state, {7 * n, 8 * n}, [&] { layer_norm_forward(kStream, x, w, b, 1e-5, y, mean, scale); });
  });
  add(("layer_norm/backward" + narrow), [=](benchmark::State& state) {
    const Tensor x = normal({g, r, d}), w = normal({g, d}), dy = normal({g, r, d}), dx = empty({g, r, d}),
                 mean = normal({g, r}), scale = positive({g, r}), dw = empty({g, d}), db = empty({g, d});
    measure(state, {14 * n, 16 * n},
            [&] { layer_norm_backward(kStream, dy, x, w, mean, scale, dx, GradMode::kAccumulate, dw, db); });
  });
  add(("swiglu/forward" + hidden), [=](benchmark::State& state) {
    const Tensor x = normal({g * r, 2 * f}), y = empty({g * r, f});
    measure(state, {5 * wide, 12 * wide}, [&] { swiglu_forward(kStream, x, y); });
  });
  add(("swiglu/backward" + hidden), [=](benchmark::State& state) {
    const Tensor x = normal({g * r, 2 * f}), dy = normal({g * r, f}), dx = empty({g * r, 2 * f});
    measure(state, {11 * wide, 20 * wide}, [&] { swiglu_backward(kStream, dy, x, dx); });
  });
  add(("gelu/forward" + hidden), [=](benchmark::State& state) {
    const Tensor x = normal({g * r, f}), y = empty({g * r, f});
    measure(state, {8 * wide, 8 * wide}, [&] { gelu_forward(kStream, x, y); });
  });
  add(("gelu/backward" + hidden), [=](benchmark::State& state) {
    const Tensor x = normal({g * r, f}), dy = normal({g * r, f}), dx = empty({g * r, f});
    measure(state, {17 * wide, 12 * wide}, [&] { gelu_backward(kStream, dy, x, dx); });
  });
  add(("rotary" + narrow), [=](benchmark::State& state) {
    const Tensor x = normal({g, 1, r, d}), table = normal({r, 32});
    measure(state, {3 * n, 8 * n}, [&] { rotary(kStream, x, d / 32, table, {}, false); });
  });
}

// Active, all of their rows in use.
Cells full_cells(std::int64_t g, std::int64_t b, std::int64_t t) {
  const auto count = static_cast<std::size_t>(g * b);
  return {Tensor::from<std::uint8_t>({g, b}, std::vector<std::uint8_t>(count, kCellActive)),
          Tensor::from<std::int32_t>({g, b}, std::vector<std::int32_t>(count, static_cast<std::int32_t>(t)))};
}

void add_memory(std::int64_t g, std::int64_t b, std::int64_t t, std::int64_t m, std::int64_t d, std::int64_t d_mem) {
  const std::int64_t nu = 3, p = 2 * nu * d_mem;
  const std::string shape = "/" + std::to_string(g) + "x" + std::to_string(b) + "x" + std::to_string(t) + "x" +
                            std::to_string(d) + "/d_mem" + std::to_string(d_mem);
  const double features = static_cast<double>(g * b * t * p), product = 2.0 * static_cast<double>(g * b * p * d);
  const auto cells = [=] { return full_cells(g, b, t); };
  add(("dpfp/forward" + shape), [=](benchmark::State& state) {
    const Tensor x = normal({g * b * t, d_mem}), phi = empty({g * b * t, p});
    measure(state, {features, 4 * features}, [&] { dpfp_forward(kStream, x, nu, phi); });
  });
  add(("dpfp/backward" + shape), [=](benchmark::State& state) {
    const Tensor x = normal({g * b * t, d_mem}), dphi = normal({g * b * t, p}), dx = empty(x.shape());
    measure(state, {4 * features, 4 * features}, [&] { dpfp_backward(kStream, dphi, x, nu, dx); });
  });
  add(("memory_read/forward" + shape), [=](benchmark::State& state) {
    const Tensor x = normal({g, b, t, d}), phi = positive({g, b, t, p}), a = normal({g, b, p, d}),
                 z = positive({g, b, p}), y = empty(x.shape()), den = empty({g, b, t});
    const Cells all = cells();
    measure(state, {product * static_cast<double>(t)},
            [&] { memory_read_forward(kStream, x, phi, a, z, all, y, den, {}); });
  });
  add(("memory_read/backward" + shape), [=](benchmark::State& state) {
    const Tensor x = normal({g, b, t, d}), phi = positive({g, b, t, p}), a = normal({g, b, p, d}),
                 z = positive({g, b, p}), den = positive({g, b, t}), dphi = empty(phi.shape()), da = empty(a.shape()),
                 dz = empty(z.shape());
    const Cells all = cells();
    measure(state, {2 * product * static_cast<double>(t)},
            [&] { memory_read_backward(kStream, x, phi, a, z, den, all, dphi, da, dz, GradMode::kAccumulate); });
  });
  const auto write_inputs = [=] {
    return std::vector<Tensor>{positive({g, b, m, p}), normal({g, b, m, d}), normal({g, b, m}), normal({g, b, p, d}),
                               positive({g, b, p})};
  };
  add(("memory_write/forward" + shape), [=](benchmark::State& state) {
    const std::vector<Tensor> in = write_inputs();
    const Tensor a = empty(in[3].shape()), z = empty(in[4].shape());
    const MemoryWrite saved{empty(in[1].shape()), empty(in[2].shape()), empty(in[2].shape())};
    const Cells all = cells();
    measure(state, {2 * product * static_cast<double>(m)},
            [&] { memory_write_forward(kStream, in[0], in[1], in[2], in[3], in[4], all, true, a, z, saved, {}); });
  });
  add(("memory_write/backward" + shape), [=](benchmark::State& state) {
    const std::vector<Tensor> in = write_inputs();
    const MemoryWrite saved{normal(in[1].shape()), positive(in[2].shape()), positive(in[2].shape())};
    const Tensor da = normal(in[3].shape()), dz = normal(in[4].shape()), dk = empty(in[0].shape()),
                 dv = empty(in[1].shape()), db = empty(in[2].shape()), da_start = da.clone(kStream);
    const Cells all = cells();
    measure(state, {4 * product * static_cast<double>(m)}, [&] {
      memory_write_backward(kStream, in[0], in[2], in[3], in[4], saved, all, da, dz, dk, dv, db);
      state.PauseTiming();  // the state's gradient is changed in place: without this it would grow without bound
      da.copy_from(kStream, da_start);
      dz.fill_zero(kStream);
      state.ResumeTiming();
    });
  });
}

// What stands between the two projections of a Mamba-2 layer; one row is a decoded token.
void add_mamba2(std::int64_t g, std::int64_t t, const SsdShape& shape) {
  const std::int64_t inner = shape.inner(), e = shape.columns(), h = shape.heads, k = 4;
  const std::string name = "/" + std::to_string(g) + "x" + std::to_string(t) + "x" + std::to_string(h) + "x" +
                           std::to_string(shape.width) + "x" + std::to_string(shape.state) + "/chunk" +
                           std::to_string(shape.chunk);
  const double rows = static_cast<double>(g * t), channels = rows * static_cast<double>(e),
               n = rows * static_cast<double>(inner), pairs = rows * static_cast<double>(std::min(t, shape.chunk)),
               of_group = pairs * static_cast<double>(shape.groups * shape.state),
               of_heads = pairs * static_cast<double>(inner), of_states = 2 * n * static_cast<double>(shape.state);
  const Shape states{g, 1, h, shape.width, shape.state};
  add(("causal_conv/forward" + name), [=](benchmark::State& state) {
    const Tensor x = normal({g, 1, t, inner + e}), w = normal({g, e, k}), bias = normal({g, e}),
                 tail = normal({g, 1, k - 1, e}), y = empty({g, 1, t, e});
    const Cells all = full_cells(g, 1, t);
    measure(state, {12 * channels, 8 * channels},
            [&] { causal_conv_forward(kStream, x, inner, w, bias, tail, all, y, tail); });
  });
  add(("causal_conv/backward" + name), [=](benchmark::State& state) {
    const Tensor x = normal({g, 1, t, inner + e}), w = normal({g, e, k}), bias = normal({g, e}),
                 tail = normal({g, 1, k - 1, e}), dy = normal({g, 1, t, e}), dx = empty(x.shape()),
                 dw = empty(w.shape()), dbias = empty(bias.shape()), dtail = empty(tail.shape());
    const Cells all = full_cells(g, 1, t);
    measure(state, {34 * channels, 12 * channels},
            [&] { causal_conv_backward(kStream, dy, x, inner, w, bias, tail, all, {}, dx, dw, dbias, dtail); });
  });
  add(("ssd/forward" + name), [=](benchmark::State& state) {
    const Tensor xbc = normal({g, 1, t, e}), dt = normal({g, 1, t, h}), y = empty({g, 1, t, inner}), s = normal(states);
    const SsdWeights weights{normal({g, h}), normal({g, h}), normal({g, h})};
    const Cells all = full_cells(g, 1, t);
    measure(state, {of_group + of_heads + 2 * of_states},
            [&] { ssd_forward(kStream, xbc, dt, weights, shape, s, all, y, s); });
  });
  add(("ssd/backward" + name), [=](benchmark::State& state) {
    const Tensor xbc = normal({g, 1, t, e}), dt = normal({g, 1, t, h}), dy = normal({g, 1, t, inner}),
                 s = normal(states), ds = empty(states), dxbc = empty(xbc.shape()), ddt = empty(dt.shape());
    const SsdWeights weights{normal({g, h}), normal({g, h}), normal({g, h})},
        dweights{empty({g, h}), empty({g, h}), empty({g, h})};
    const Cells all = full_cells(g, 1, t);
    measure(state, {3 * of_group + 2 * of_heads + 5 * of_states},
            [&] { ssd_backward(kStream, dy, xbc, dt, weights, shape, s, all, {}, dxbc, ddt, dweights, ds); });
  });
  add(("gated_norm/forward" + name), [=](benchmark::State& state) {
    const Tensor y = normal({g, 1, t, inner}), z = normal({g, 1, t, inner + e}), w = normal({g, inner}),
                 o = empty(y.shape()), scale = empty({g, 1, t, 1});
    measure(state, {9 * n, 12 * n}, [&] { gated_norm_forward(kStream, y, z, w, {}, o, scale); });
  });
  add(("gated_norm/backward" + name), [=](benchmark::State& state) {
    const Tensor y = normal({g, 1, t, inner}), z = normal({g, 1, t, inner + e}), w = normal({g, inner}),
                 dout = normal(y.shape()), scale = positive({g, 1, t, 1}), dy = empty(y.shape()), dz = empty(z.shape()),
                 dw = empty(w.shape());
    measure(state, {24 * n, 20 * n}, [&] { gated_norm_backward(kStream, dout, y, z, w, scale, {}, dy, dz, dw); });
  });
}

void add_head(std::int64_t r, std::int64_t v) {
  const double n = static_cast<double>(r * v);
  const std::string shape = "/" + std::to_string(r) + "x" + std::to_string(v);
  add(("cross_entropy/forward" + shape), [=](benchmark::State& state) {
    const Tensor logits = normal({r, v}), loss = empty({r}), lse = empty({r}),
                 correct = Tensor::zeros(kStream, {r}, DType::kU8), target = Tensor::zeros(kStream, {r}, DType::kI32);
    measure(state, {4 * n, 4 * n}, [&] { cross_entropy_forward(kStream, logits, target, loss, lse, correct); });
  });
  add(("cross_entropy/backward" + shape), [=](benchmark::State& state) {
    const Tensor logits = normal({r, v}), dloss = normal({r}), lse = positive({r}), grad = empty({r, v}),
                 target = Tensor::zeros(kStream, {r}, DType::kI32);
    measure(state, {3 * n, 8 * n}, [&] { cross_entropy_backward(kStream, dloss, logits, target, lse, grad); });
  });
}

void add_optimizer(std::int64_t n) {
  const double count = static_cast<double>(n);
  add(("adamw/" + std::to_string(n)), [=](benchmark::State& state) {
    const Tensor g = normal({n}), m = empty({n}), v = empty({n}), w = normal({n});
    measure(state, {15 * count, 28 * count},
            [&] { adamw(kStream, {.lr = 1e-3, .decay = 0.01, .step = 10}, g, m, v, w, {}); });
  });
  add(("sum_of_squares/" + std::to_string(n)), [=](benchmark::State& state) {
    const Tensor g = normal({n});
    const Tensor sum = Tensor::empty(kStream, {1}, DType::kF64);
    measure(state, {2 * count, 4 * count}, [&] { sum_of_squares(kStream, g, sum); });
  });
}

void add_all() {
  add_linear("square", 1, 1024, 1024, 1024);
  // A wave of the tiny model: 4 layers, 16 samples of 80 rows, D 128, F 344.
  add_linear("tiny_qkv", 4, 1280, 128, 256);
  add_linear("tiny_gate_up", 4, 1280, 128, 688);
  add_linear("tiny_down", 4, 1280, 344, 128);
  add_linear("tiny_one_layer", 1, 1280, 128, 688);
  add_linear("tiny_memory_query", 4, 1280, 128, 32);
  add_linear("tiny_head", 1, 256, 128, 2000);
  // A few layers of the small model: 1 sample of 1152 rows, D 768, F 3072.
  add_linear("small_qkv", 4, 1152, 768, 2304);
  add_linear("small_up", 4, 1152, 768, 3072);
  add_linear("small_down", 1, 1152, 3072, 768);
  add_linear("decode", 1, 1, 768, 3072);
  add_attention(4, 16, 80, {4, 4, 32});
  add_attention(2, 1, 1152, {12, 12, 64});
  add_rowwise(4, 1280, 128, 344);
  add_rowwise(2, 1152, 768, 3072);
  add_memory(4, 16, 80, 16, 128, 32);
  add_memory(2, 1, 1152, 128, 768, 64);
  // A layer of Mamba-2 130M, and of it one token.
  const SsdShape mamba2{.heads = 24, .width = 64, .state = 128, .groups = 1, .chunk = 64};
  add_linear("mamba2_in", 1, 512, 768, 3352);
  add_linear("mamba2_out", 1, 512, 1536, 768);
  add_mamba2(1, 512, mamba2);
  add_mamba2(1, 1, mamba2);
  add_head(256, 2000);
  add_head(256, 50257);
  add_optimizer(1'000'000);
  add_optimizer(20'000'000);
}

}  // namespace
}  // namespace wt::kernels

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  wt::kernels::measure_machine();
  benchmark::AddCustomContext("matrix rate, 1024x1024x1024",
                              std::to_string(wt::kernels::machine_flops * 1e-9) + " GFLOP/s");
  wt::kernels::add_all();
  benchmark::RunSpecifiedBenchmarks();
}
