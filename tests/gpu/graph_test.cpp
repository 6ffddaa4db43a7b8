// Work recorded as a graph (core/graph.h): what may go wrong meanwhile, and what must outlive it.
#include "core/graph.h"

#include <algorithm>
#include <thread>
#include <vector>

#include "core/cuda.h"
#include "kernels/rows.h"
#include "schedulers/decoder.h"
#include "schedulers/executor.h"
#include "tests/schedulers/support.h"
#include "tests/support/expect_error.h"
#include "tests/support/gpu.h"
#include "tests/support/tolerances.h"

namespace wt {
namespace {

Tensor ones(std::int64_t n) {
  return Tensor::from<float>(gpu(), {n}, std::vector<float>(static_cast<std::size_t>(n), 1));
}
float first_of(const Tensor& t) {
  return t.to_cpu(gpu()).data<float>()[0];
}

// Holds all but about `left` bytes of the GPU, and gives them back to other processes, too.
class Hog {
 public:
  explicit Hog(std::uint64_t left) {
    cuda::trim_pool(0);
    for (;;) {
      const std::uint64_t free = cuda::device_memory(0).free;
      if (free <= left + (std::uint64_t{64} << 20)) return;
      const std::uint64_t bytes = std::min(free - left, std::uint64_t{8} << 30);
      taken_.push_back(Tensor::empty(gpu(), {static_cast<std::int64_t>(bytes)}, DType::kU8));
      gpu().synchronize();
    }
  }
  ~Hog() {
    taken_.clear();
    cuda::trim_pool(0);
  }
  Hog(const Hog&) = delete;
  Hog& operator=(const Hog&) = delete;

 private:
  std::vector<Tensor> taken_;
};

TEST(GpuGraph, WithoutMemoryForItItIsNotRecorded) {
  const Tensor x = ones(8), sum = ones(8);
  {
    const Hog hog(std::uint64_t{256} << 20);
    const auto work = [&] {
      const Tensor large = Tensor::empty(gpu(), {std::int64_t{2} << 30}, DType::kU8);
      kernels::add(gpu(), x, sum);
    };
    const Graph graph = Graph::record(gpu(), work);
    EXPECT_FALSE(graph.recorded());
    EXPECT_ERROR(work(), Error, "out of memory on cuda:0: asked for ");
    // What fits is recorded, and the stream is as it was.
    const Graph small = Graph::record(gpu(), [&] { kernels::add(gpu(), x, sum); });
    ASSERT_TRUE(small.recorded());
    small.launch(gpu());
  }
  kernels::add(gpu(), x, sum);
  EXPECT_EQ(first_of(sum), 3);
}

TEST(GpuGraph, UnusedMemoryOfThePoolServesTheRecording) {
  const Tensor x = ones(8), sum = ones(8);
  const Hog hog(std::uint64_t{2} << 30);
  {
    std::vector<Tensor> pieces;  // go back to the pool in pieces that are each too small
    for (int i = 0; i < 6; ++i) pieces.push_back(Tensor::empty(gpu(), {std::int64_t{256} << 20}, DType::kU8));
  }
  const Graph graph = Graph::record(gpu(), [&] {
    const Tensor large = Tensor::empty(gpu(), {std::int64_t{1} << 30}, DType::kU8);
    kernels::add(gpu(), x, sum);
  });
  ASSERT_TRUE(graph.recorded());
  graph.launch(gpu());
  EXPECT_EQ(first_of(sum), 2);
}

TEST(GpuGraph, AFailureInsideLeavesTheStreamUsable) {
  const Tensor x = ones(8), sum = ones(8);
  EXPECT_ERROR(Graph::record(gpu(),
                             [&] {
                               kernels::add(gpu(), x, sum);
                               throw Error("no more of this");
                             }),
               Error, "no more of this");
  EXPECT_ERROR(Graph::record(gpu(), [&] { sum.to_cpu(gpu()); }), Error,
               "a copy from or to host memory while a graph is recorded");
  kernels::add(gpu(), x, sum);
  EXPECT_EQ(first_of(sum), 2);
}

TEST(GpuGraph, WhatAnotherThreadDropsIsNoPartOfIt) {
  gpu().synchronize();
  const std::uint64_t used = cuda::pool_use(0).current;
  {
    const Tensor x = ones(1 << 20), sum = ones(1 << 20);
    Tensor dropped = ones(1 << 20);
    const Graph graph = Graph::record(gpu(), [&] {
      kernels::add(gpu(), x, sum);
      std::thread([&] {
        dropped = {};
        const Tensor made = Tensor::empty(gpu(), {1 << 20}, DType::kF32);  // and dropped
      }).join();
      kernels::add(gpu(), x, sum);
    });
    ASSERT_TRUE(graph.recorded());
    const Tensor other = ones(1 << 20);  // where the dropped one was, perhaps
    for (int i = 0; i < 3; ++i) {
      graph.launch(gpu());
      EXPECT_EQ(first_of(sum), 3 + 2 * i);
    }
    EXPECT_EQ(first_of(other), 1);
  }
  gpu().synchronize();
  EXPECT_EQ(cuda::pool_use(0).current, used);
}

TEST(GpuGraph, MayGoWhileItRuns) {
  const std::int64_t n = 64 << 20;
  const Tensor sum = ones(n);
  for (int i = 0; i < 5; ++i) {
    const Tensor x = ones(n);
    const Graph graph = Graph::record(gpu(), [&] {
      for (int k = 0; k < 50; ++k) {
        const Tensor copy = x.clone(gpu());
        kernels::add(gpu(), copy, sum);
      }
    });
    graph.launch(gpu());
  }
  EXPECT_EQ(first_of(sum), 251);
}

ModelConfig plain_dynamic() {
  ModelConfig config = tiny_config("llama", 2);
  config.hidden_size = 32;
  config.armt.reset();
  config.attention().rope_scaling = {"dynamic", 4, 1, 4, 6};
  return config;
}

// Two of them with caches of different sizes, in turn, each with its recorded step.
TEST(GpuGraph, DecodersOfOneModelKeepTheirRotaryAngles) {
  const ModelConfig config = plain_dynamic();
  const auto cpu_model = tiny_model(config, DType::kF32, 1, {}, 0.18);
  const auto gpu_model = tiny_model(config, DType::kF32, 1, gpu(), 0.18);
  const auto decoder = [](const Model& model, std::int64_t capacity) {
    return std::make_unique<Decoder>(model, model.new_state(2), std::vector<std::int64_t>{0, 0}, capacity);
  };
  const auto cpu_short = decoder(*cpu_model, 20), cpu_long = decoder(*cpu_model, 45);
  const auto gpu_short = decoder(*gpu_model, 20), gpu_long = decoder(*gpu_model, 45);
  const auto step = [&](Decoder& want, Decoder& got, const TokenSequences& tokens) {
    EXPECT_LT(relative_error(got.append(tokens), want.append(tokens)), kGoldenLogitsF32) << want.length(0);
  };
  step(*cpu_long, *gpu_long, {{1, 2, 3, 4, 5, 6, 7, 8}, {3, 1}});
  step(*cpu_short, *gpu_short, {{1, 2, 3, 4}, {3, 1}});
  for (std::int32_t i = 0; i < 16; ++i) {
    step(*cpu_short, *gpu_short, {{i % 11}, {(i * 3 + 1) % 11}});
    step(*cpu_long, *gpu_long, {{(i * 5) % 11}, {(i + 2) % 11}});
  }
}

// Ids are looked at wave by wave: a bad one far behind is found when recorded waves are under way.
TEST(GpuReader, ABadIdFarBehindIsAnErrorAndNothingElse) {
  ModelConfig config = tiny_config("llama", 2);
  config.hidden_size = 32;
  const auto model = tiny_model(config, DType::kF32, 1, gpu(), 0.18);
  const auto read = [&](const TokenSequences& ids) {
    State state = model->new_state(1);
    Executor(*model).forward(Work(*model, ids, 1, Schedule::kDiagonal), state, {});
    return state[0].to_cpu(gpu());
  };
  TokenSequences ids = random_batch({3000}, 1, 11).sequences;
  const Tensor want = read(ids);
  for (const std::size_t place : {2990u, 1500u, 800u}) {
    TokenSequences bad = ids;
    bad[0][place] = 11;
    EXPECT_ERROR(read(bad), Error, "token id 11 is not in the vocabulary of 11; wave ");
    EXPECT_TRUE(same_bytes(read(ids), want)) << place;
  }
}

}  // namespace
}  // namespace wt
