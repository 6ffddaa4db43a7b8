// Two GPUs in one process, each with streams and work of its own. Only where there are two (CMakeLists.txt).
#include <vector>

#include "core/cuda.h"
#include "core/graph.h"
#include "kernels/attention.h"
#include "kernels/linear_fused.h"
#include "kernels/rows.h"
#include "schedulers/decoder.h"
#include "tests/schedulers/support.h"
#include "tests/support/gpu.h"
#include "tests/support/tolerances.h"

namespace wt {
namespace {

const Stream& second() {
  static const Stream stream(device_from_name("cuda:1"));
  return stream;
}

Tensor on(const Stream& stream, const Tensor& x, DType dtype) {
  return x.to(Stream{}, dtype).to(stream);
}

// ‖got - want‖ / ‖want‖, each read through its own device's stream.
double error_between(const Tensor& got, const Stream& of_got, const Tensor& want, const Stream& of_want) {
  return relative_error(got.to_cpu(of_got), want.to_cpu(of_want));
}

// Four rows of 8192 take 64 KiB of shared memory, which a kernel must be allowed on each device.
TEST(SecondGpu, FewRowsOfGreatWidth) {
  const Tensor x = normal({1, 4, 8192}, 1), w = normal({1, 64, 8192}, 2, 0.01);
  std::vector<Tensor> out;
  for (const Stream& stream : {gpu(), second()}) {
    out.push_back(Tensor::empty(stream, {1, 4, 64}, DType::kBF16));
    kernels::linear_fused(stream, on(stream, x, DType::kBF16), on(stream, w, DType::kBF16),
                          kernels::WeightLayout::kOutIn, {}, out.back());
  }
  EXPECT_EQ(error_between(out[1], second(), out[0], gpu()), 0);
}

// Whichever stream was made last, work goes to the device of its own stream.
TEST(SecondGpu, WorkInTurn) {
  const auto one = tiny_model(tiny_config("llama"), DType::kF32, 1, gpu(), 0.18);
  const auto two = tiny_model(tiny_config("llama"), DType::kF32, 1, second(), 0.18);
  Decoder first(*one, one->new_state(1), {0}, 40), other(*two, two->new_state(1), {0}, 40);
  for (std::int32_t step = 0; step < 30; ++step) {
    const TokenSequences tokens{step == 0 ? std::vector<std::int32_t>{1, 2, 3} : std::vector<std::int32_t>{step % 11}};
    const Tensor a = first.append(tokens), b = other.append(tokens);
    EXPECT_EQ(error_between(b, second(), a, gpu()), 0) << step;
  }
  const TokenBatch batch = random_batch({13, 7}, 2, 11);
  ExecutorOptions options;
  options.gradients = true;
  const StepResult at_first = run_step(*one, batch, Schedule::kDiagonal, options),
                   at_second = run_step(*two, batch, Schedule::kDiagonal, options);
  EXPECT_EQ(at_first.loss, at_second.loss);
  for (std::size_t i = 0; i < at_first.grads.size(); ++i) EXPECT_EQ(at_first.grads[i], at_second.grads[i]);
}

TEST(SecondGpu, AttentionOfBothLibraries) {
  const kernels::AttentionHeads heads{4, 2, 64};
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Tensor qkv = normal({1, 2, 70, heads.row_width()}, 1);
    std::vector<Tensor> out;
    for (const Stream& stream : {second(), gpu()}) {
      out.push_back(Tensor::empty(stream, {1, 2, 70, 256}, dtype));
      kernels::attention_forward(stream, on(stream, qkv, dtype), heads, out.back(),
                                 Tensor::empty(stream, {1, 2, 4, 70}, DType::kF32));
    }
    EXPECT_EQ(error_between(out[0], second(), out[1], gpu()), 0);
  }
}

TEST(SecondGpu, RecordingWhileTheFirstOneIsCurrent) {
  const Tensor x = on(second(), normal({64}, 1), DType::kF32), sum = x.clone(second()), want = x.clone(second());
  cuda::use_device(0);
  const Graph graph = Graph::record(second(), [&] {
    const Tensor copy = x.clone(second());
    kernels::add(second(), copy, sum);
  });
  cuda::use_device(0);
  graph.launch(second());
  kernels::add(second(), x, want);
  EXPECT_EQ(error_between(sum, second(), want, second()), 0);
}

}  // namespace
}  // namespace wt
