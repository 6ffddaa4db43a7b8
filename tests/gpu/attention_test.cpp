// Attention on the GPU against the CPU's: cuDNN's kernels, our own and the decoder's.
#include "kernels/attention.h"

#include <vector>

#include "kernels/attention_cudnn.h"
#include "tests/support/expect_error.h"
#include "tests/support/gpu.h"
#include "tests/support/tolerances.h"

namespace wt::kernels {
namespace {

// The backward rounds the probabilities, the scores' gradients and, with several query heads for a key, each head's
// part of that key's gradient to bfloat16, and dp - dout·out cancels most of two numbers with rounded inputs.
constexpr double kGradientBF16 = 2e-2;

const Stream kCpu;

struct Case {
  std::int64_t g, b, t, query, key_value, width;
  AttentionHeads heads() const { return {query, key_value, width}; }
  std::string str() const {
    return cat("G ", g, " B ", b, " T ", t, " heads ", query, "/", key_value, " width ", width);
  }
};

const std::vector<Case> kCases{
    {1, 1, 1, 1, 1, 8},     {3, 2, 1, 4, 2, 64},   {1, 1, 2, 2, 1, 64},   {3, 2, 13, 4, 2, 16},  {3, 1, 13, 3, 3, 64},
    {2, 1, 129, 2, 1, 128}, {1, 3, 77, 6, 3, 64},  {1, 1, 77, 3, 1, 24},  {1, 2, 65, 3, 3, 5},   {2, 1, 70, 2, 1, 200},
    {1, 1, 33, 4, 1, 256},  {3, 1, 192, 4, 4, 80}, {1, 1, 100, 7, 1, 33}, {1, 1, 63, 2, 2, 127}, {5, 1, 50, 3, 1, 40},
};

// Columns [first, first + count) of the rows of x.
Tensor columns(const Tensor& x, std::int64_t first, std::int64_t count) {
  const std::vector<double> from = x.to_cpu(gpu()).to(kCpu, DType::kF64).to_vector<double>();
  const std::int64_t width = x.shape()[-1], rows = x.numel() / width;
  std::vector<double> to;
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto begin = from.begin() + row * width + first;
    to.insert(to.end(), begin, begin + count);
  }
  return Tensor::from<double>({rows, count}, to);
}

struct Results {
  Tensor out, lse, dqkv;
};

Results on_cpu(const Case& c, const Tensor& qkv, const Tensor& dout) {
  const Results r{Tensor::empty(kCpu, dout.shape(), DType::kF32),
                  Tensor::empty(kCpu, {c.g, c.b, c.query, c.t}, DType::kF32),
                  Tensor::empty(kCpu, qkv.shape(), DType::kF32)};
  attention_forward(kCpu, qkv, c.heads(), r.out, r.lse);
  attention_backward(kCpu, dout, qkv, r.out, r.lse, c.heads(), r.dqkv);
  return r;
}

Results on_gpu(const Case& c, const Tensor& qkv, const Tensor& dout) {
  const Results r{poisoned(dout.shape(), dout.dtype()), poisoned({c.g, c.b, c.query, c.t}, DType::kF32),
                  poisoned(qkv.shape(), qkv.dtype())};
  attention_forward(gpu(), qkv, c.heads(), r.out, r.lse);
  attention_backward(gpu(), dout, qkv, r.out, r.lse, c.heads(), r.dqkv);
  return r;
}

void compare(const Case& c, DType dtype) {
  SCOPED_TRACE(c.str() + " " + std::string(name_of(dtype)));
  const double forward = dtype == DType::kF32 ? kGpuF32 : kGpuBF16;
  const double backward = dtype == DType::kF32 ? kGpuF32 : kGradientBF16;
  Tensor qkv = normal({c.g, c.b, c.t, c.heads().row_width()}, 1), dout = normal({c.g, c.b, c.t, c.query * c.width}, 2);
  if (dtype == DType::kBF16) {
    qkv = rounded(qkv);
    dout = rounded(dout);
  }
  const Results want = on_cpu(c, qkv, dout);
  const Tensor gpu_qkv = upload(qkv, dtype), gpu_dout = upload(dout, dtype);
  const Results got = on_gpu(c, gpu_qkv, gpu_dout), again = on_gpu(c, gpu_qkv, gpu_dout);
  EXPECT_LT(relative_error(got.out, want.out), forward);
  EXPECT_LT(relative_error(got.lse, want.lse), kGpuF32);
  const std::int64_t key = c.query * c.width, value = key + c.key_value * c.width;
  // With a single row the probability is one whatever q and k are: their gradients are zero, or cancel to rounding.
  const auto part_error = [&](std::int64_t first, std::int64_t count) {
    return relative_error(columns(got.dqkv, first, count), columns(want.dqkv, first, count));
  };
  if (c.t > 1) {
    EXPECT_LT(part_error(0, key), backward) << "dq";
    EXPECT_LT(part_error(key, value - key), backward) << "dk";
  } else {
    EXPECT_LT(relative_error(got.dqkv, want.dqkv), backward) << "dqkv";
  }
  EXPECT_LT(part_error(value, c.key_value * c.width), backward) << "dv";
  EXPECT_TRUE(same_bytes(got.out, again.out));
  EXPECT_TRUE(same_bytes(got.lse, again.lse));
  EXPECT_TRUE(same_bytes(got.dqkv, again.dqkv));
}

TEST(GpuAttention, Float32) {
  for (const Case& c : kCases) compare(c, DType::kF32);
}

TEST(GpuAttention, BFloat16) {
  for (const Case& c : kCases) compare(c, DType::kBF16);
}

TEST(GpuAttention, LargeSegment) {
  const Case c{2, 1, 1152, 8, 2, 64};
  compare(c, DType::kF32);
  compare(c, DType::kBF16);
}

// Equal samples, so many that the backward runs in parts: the first and the last against one on the CPU.
TEST(GpuAttention, BackwardInParts) {
  const Case all{13, 1, 1152, 32, 8, 64}, one{1, 1, 1152, 32, 8, 64};
  const Tensor qkv = rounded(normal({1, 1, all.t, all.heads().row_width()}, 1)),
               dout = rounded(normal({1, 1, all.t, all.query * all.width}, 2));
  const Tensor many_qkv = poisoned({all.g, 1, all.t, all.heads().row_width()}, DType::kBF16),
               many_dout = poisoned({all.g, 1, all.t, all.query * all.width}, DType::kBF16);
  for (std::int64_t g = 0; g < all.g; ++g) {
    many_qkv.slice(g, g + 1).copy_from(gpu(), upload(qkv, DType::kBF16));
    many_dout.slice(g, g + 1).copy_from(gpu(), upload(dout, DType::kBF16));
  }
  const Results want = on_cpu(one, qkv, dout), got = on_gpu(all, many_qkv, many_dout);
  for (const std::int64_t g : {std::int64_t{0}, all.g - 1}) {
    EXPECT_LT(relative_error(got.out.slice(g, g + 1), want.out), kGpuBF16) << g;
    EXPECT_LT(relative_error(got.dqkv.slice(g, g + 1), want.dqkv), kGradientBF16) << g;
  }
}

struct CachedCase {
  std::int64_t t, query, key_value, width, capacity;
  std::vector<std::int32_t> length;
  AttentionHeads heads() const { return {query, key_value, width}; }
  std::string str() const {
    return cat("T ", t, " heads ", query, "/", key_value, " width ", width, " capacity ", capacity);
  }
};

const std::vector<CachedCase> kCachedCases{
    // One row: the decoder, in one stretch and in several.
    {1, 1, 1, 8, 1, {0}},
    {1, 4, 1, 64, 40, {0, 5, 39}},
    {1, 8, 2, 64, 300, {0, 64, 299}},
    {1, 4, 2, 128, 1000, {63, 999}},
    {1, 8, 1, 64, 513, {1, 512}},
    {1, 3, 3, 256, 200, {7, 128}},
    {1, 16, 2, 256, 200, {7, 128}},
    {1, 2, 1, 5, 200, {0, 150}},
    {1, 7, 1, 33, 200, {0, 150}},
    {1, 2, 2, 200, 200, {0, 199}},
    {1, 20, 1, 24, 130, {65, 129}},
    {1, 12, 12, 64, 1024, {1000, 3, 0, 511, 63, 64, 65, 900}},
    // Several rows, decoder and tiles.
    {2, 4, 2, 64, 300, {0, 62, 298}},
    {7, 4, 2, 64, 300, {0, 64, 293}},
    {16, 2, 2, 80, 99, {0, 83}},
    {17, 4, 2, 64, 300, {0, 64, 283}},
    {64, 3, 1, 5, 100, {0, 36}},
    {129, 4, 4, 64, 300, {0, 5, 171}},
    {200, 2, 1, 200, 250, {50, 13}},
    {70, 2, 2, 128, 70, {0}},
};

void compare_cached(const CachedCase& c, DType dtype, bool turned = false) {
  SCOPED_TRACE(c.str() + " " + std::string(name_of(dtype)) + (turned ? " turned" : ""));
  const auto b = static_cast<std::int64_t>(c.length.size());
  // Rows behind the length are large: reading one would show.
  Tensor qkv = normal({b, c.t, c.heads().row_width()}, 1), keys = normal({b, c.capacity, c.key_value, c.width}, 2),
         values = normal({b, c.capacity, c.key_value, c.width}, 3);
  for (const Tensor& cache : {keys, values}) {
    const std::int64_t row = c.key_value * c.width;
    for (std::int64_t i = 0; i < b; ++i) {
      float* of_sample = cache.data<float>() + i * c.capacity * row;
      for (std::int64_t at = c.length[static_cast<std::size_t>(i)] * row; at < c.capacity * row; ++at) {
        of_sample[at] = 100 + of_sample[at];
      }
    }
  }
  if (dtype == DType::kBF16) {
    qkv = rounded(qkv);
    keys = rounded(keys);
    values = rounded(values);
  }
  const Tensor length = Tensor::from<std::int32_t>({b}, c.length);
  const Tensor angles = turned ? normal({c.capacity, c.width}, 4) : Tensor{};
  const Tensor gpu_qkv = upload(qkv, dtype), gpu_length = upload(length),
               gpu_angles = turned ? upload(angles) : Tensor{};
  const auto run = [&](const Tensor& k, const Tensor& v) {
    const Tensor out = poisoned({b, c.t, c.query * c.width}, dtype);
    attention_cached(gpu(), gpu_qkv.clone(gpu()), c.heads(), gpu_length, k, v, out, gpu_angles);
    return out;
  };
  const Tensor gpu_keys = upload(keys, dtype), gpu_values = upload(values, dtype);
  const Tensor got = run(gpu_keys, gpu_values);
  EXPECT_TRUE(same_bytes(got, run(upload(keys, dtype), upload(values, dtype))));
  const Tensor want = Tensor::empty(kCpu, {b, c.t, c.query * c.width}, DType::kF32);
  attention_cached(kCpu, qkv, c.heads(), length, keys, values, want, angles);
  EXPECT_LT(relative_error(got, want), dtype == DType::kF32 ? kGpuF32 : kGpuBF16);
  if (turned) {
    EXPECT_LT(relative_error(gpu_keys, keys), dtype == DType::kF32 ? kGpuF32 : kGpuBF16);
  } else {
    EXPECT_TRUE(same_bytes(gpu_keys, keys.to(kCpu, dtype)));
  }
  EXPECT_TRUE(same_bytes(gpu_values, values.to(kCpu, dtype)));
}

TEST(GpuAttention, CachedFloat32) {
  for (const CachedCase& c : kCachedCases) compare_cached(c, DType::kF32);
}

TEST(GpuAttention, CachedBFloat16) {
  for (const CachedCase& c : kCachedCases) compare_cached(c, DType::kBF16);
}

TEST(GpuAttention, CachedTurnsQueriesAndNewKeys) {
  for (const CachedCase& c : kCachedCases) {
    if (c.width % 2 != 0) continue;
    compare_cached(c, DType::kF32, true);
    compare_cached(c, DType::kBF16, true);
  }
}

TEST(GpuAttention, CachedLarge) {
  const CachedCase c{1, 32, 8, 64, 4096, {4000, 1023, 17}};
  compare_cached(c, DType::kF32);
  compare_cached(c, DType::kBF16);
}

// Only the kernels see it: they must not touch what lies behind the cache, and the next wait says so.
TEST(GpuAttention, ACacheTooShortIsAnError) {
  for (const std::int64_t t : {1, 40}) {
    const AttentionHeads heads{4, 2, 64};
    const Tensor both = upload(normal({2, 1, 50, 2, 64}, 1)), before = both.clone(gpu());
    const Tensor qkv = upload(normal({1, t, heads.row_width()}, 2));
    const Tensor length = upload(Tensor::from<std::int32_t>({1}, {50}));
    const Tensor values = upload(normal({1, 50, 2, 64}, 3));
    attention_cached(gpu(), qkv, heads, length, both.select(0), values, poisoned({1, t, 256}, DType::kF32));
    EXPECT_ERROR(gpu().synchronize(), Error, "cached attention: a row is beyond the key/value cache");
    EXPECT_TRUE(same_bytes(both, before));
    const Tensor none = Tensor::empty(gpu(), {1, 0, 2, 64}, DType::kF32), out = poisoned({1, t, 256}, DType::kF32);
    EXPECT_ERROR(attention_cached(gpu(), qkv, heads, length, none, none, out), Error,
                 cat("cached attention: ", t, " rows in a key/value cache of 0"));
  }
}

TEST(GpuAttention, CachedKnowsNothingOfTheCachesEnd) {
  // The same bytes whatever room there is behind the rows: a generation does not depend on how long it may become.
  const AttentionHeads heads{8, 2, 64};
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Tensor qkv = upload(normal({2, 1, heads.row_width()}, 2), dtype), angles = upload(normal({20'000, 64}, 4));
    const Tensor keys = normal({2, 300, 2, 64}, 1), values = normal({2, 300, 2, 64}, 3);
    const Tensor length = upload(Tensor::from<std::int32_t>({2}, {299, 40}));
    Tensor first;
    for (const std::int64_t capacity : {300, 301, 512, 1100, 4096, 20'000}) {
      const auto longer = [&](const Tensor& rows) {
        const Tensor all = Tensor::zeros(kCpu, {2, capacity, 2, 64}, DType::kF32);
        for (std::int64_t b = 0; b < 2; ++b) all.select(b).slice(0, 300).copy_from(kCpu, rows.select(b));
        return upload(all, dtype);
      };
      const Tensor out = poisoned({2, 1, 512}, dtype);
      attention_cached(gpu(), qkv, heads, length, longer(keys), longer(values), out, angles);
      if (!first.defined()) first = out;
      EXPECT_TRUE(same_bytes(out, first)) << capacity;
    }
  }
}

// A tensor of more elements than 32 bits count, which cuDNN's kernels do not take.
TEST(GpuAttention, MoreElementsThan32BitsCount) {
  const AttentionHeads heads{16, 4, 64};
  const std::int64_t t = 1152, w = heads.row_width(), batch = (std::int64_t{1} << 31) / (t * w) + 4;
  const Tensor few = upload(normal({1, 4, t, w}, 1), DType::kBF16),
               qkv = Tensor::empty(gpu(), {1, batch, t, w}, few.dtype());
  for (std::int64_t b = 0; b < batch; ++b) qkv.select(0).select(b).copy_from(gpu(), few.select(0).select(b % 4));
  const auto run = [&](const Tensor& x, const Tensor& out, const Tensor& lse) {
    attention_forward(gpu(), x, heads, out, lse);
    return out;
  };
  const Tensor want = run(few, poisoned({1, 4, t, 1024}, DType::kBF16), poisoned({1, 4, 16, t}, DType::kF32));
  const Tensor got = run(qkv, poisoned({1, batch, t, 1024}, DType::kBF16), poisoned({1, batch, 16, t}, DType::kF32));
  for (const std::int64_t b : {std::int64_t{0}, std::int64_t{1}, batch / 2, batch - 3, batch - 2, batch - 1}) {
    EXPECT_LT(relative_error(got.select(0).select(b), want.select(0).select(b % 4)), kGpuBF16) << b << " of " << batch;
  }
}

TEST(GpuAttention, PlansOfManyLengthsAreDropped) {
  const AttentionHeads heads{2, 2, 64};
  const auto run = [&](std::int64_t t) {
    const Tensor qkv = upload(normal({1, 1, t, heads.row_width()}, 1), DType::kBF16),
                 out = poisoned({1, 1, t, 128}, DType::kBF16);
    attention_forward(gpu(), qkv, heads, out, poisoned({1, 1, 2, t}, DType::kF32));
    return out;
  };
  const Tensor first = run(2);
  for (std::int64_t t = 3; t < 90; ++t) run(t);
  EXPECT_LE(cuda::cudnn_plans(), 64u);
  EXPECT_TRUE(same_bytes(run(2), first));
}

TEST(GpuAttention, NothingToDo) {
  const AttentionHeads heads{4, 2, 64};
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Shape& shape : {Shape{0, 1, 8, 512}, Shape{1, 1, 0, 512}}) {
      const Tensor qkv = Tensor::empty(gpu(), shape, dtype);
      const Tensor out = Tensor::empty(gpu(), {shape[0], 1, shape[2], 256}, dtype);
      const Tensor lse = Tensor::empty(gpu(), {shape[0], 1, 4, shape[2]}, DType::kF32);
      attention_forward(gpu(), qkv, heads, out, lse);
      attention_backward(gpu(), out, qkv, out, lse, heads, qkv);
    }
  }
  gpu().synchronize();
}

TEST(GpuAttention, Errors) {
  const auto forward = [](const AttentionHeads& heads, DType dtype) {
    attention_forward(gpu(), Tensor::empty(gpu(), {1, 1, 4, heads.row_width()}, dtype), heads,
                      Tensor::empty(gpu(), {1, 1, 4, heads.query * heads.width}, dtype),
                      Tensor::empty(gpu(), {1, 1, heads.query, 4}, DType::kF32));
  };
  EXPECT_ERROR(forward({1, 1, 264}, DType::kBF16), Error, "heads are 264 wide, at most 256");
  EXPECT_ERROR(forward({3, 2, 8}, DType::kF32), Error, "3 query heads do not divide into 2");
  EXPECT_ERROR(forward({1, 1, 8}, DType::kF64), Error, "f64 runs on the CPU only");
}

// Everything again as a CUDA graph, recorded after a first call of the same shapes.
TEST(GpuAttention, Captured) {
  const Case c{2, 1, 77, 4, 2, 64};
  const std::int64_t capacity = 300;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    SCOPED_TRACE(std::string(name_of(dtype)));
    const Tensor qkv = upload(normal({c.g, c.b, c.t, c.heads().row_width()}, 1), dtype),
                 dout = upload(normal({c.g, c.b, c.t, c.query * c.width}, 2), dtype);
    const Tensor row = upload(normal({2, 1, c.heads().row_width()}, 3), dtype),
                 keys = upload(normal({2, capacity, c.key_value, c.width}, 4), dtype),
                 values = upload(normal({2, capacity, c.key_value, c.width}, 5), dtype),
                 length = upload(Tensor::from<std::int32_t>({2}, {3, 200}));
    const Results captured{poisoned(dout.shape(), dtype), poisoned({c.g, c.b, c.query, c.t}, DType::kF32),
                           poisoned(qkv.shape(), dtype)};
    const Tensor decoded = poisoned({2, 1, c.query * c.width}, dtype);
    const auto work = [&] {
      attention_forward(gpu(), qkv, c.heads(), captured.out, captured.lse);
      attention_backward(gpu(), dout, qkv, captured.out, captured.lse, c.heads(), captured.dqkv);
      attention_cached(gpu(), row, c.heads(), length, keys, values, decoded);
    };
    work();
    const Tensor dqkv = captured.dqkv.clone(gpu()), first_decoded = decoded.clone(gpu());
    captured.dqkv.fill_zero(gpu());
    decoded.fill_zero(gpu());

    const auto stream = static_cast<cudaStream_t>(gpu().native());
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t program = nullptr;
    ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    work();
    ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    ASSERT_EQ(cudaGraphInstantiate(&program, graph, 0), cudaSuccess);
    for (int i = 0; i < 2; ++i) ASSERT_EQ(cudaGraphLaunch(program, stream), cudaSuccess);
    EXPECT_TRUE(same_bytes(captured.dqkv, dqkv));
    EXPECT_TRUE(same_bytes(decoded, first_decoded));
    EXPECT_EQ(cudaGraphExecDestroy(program), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  }
}

}  // namespace
}  // namespace wt::kernels
