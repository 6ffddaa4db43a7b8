#include "kernels/embedding.h"

#include "tests/support/expect_error.h"
#include "tests/support/gpu.h"
#include "tests/support/tolerances.h"

namespace wt::kernels {
namespace {

const Stream kCpu;

struct Sizes {
  std::int64_t rows, vocabulary, memory, positions, width;
};
const Sizes kSizes[] = {{1, 5, 2, 3, 19},    {13, 47, 3, 20, 8},       {129, 47, 3, 61, 36},
                        {129, 1, 1, 1, 256}, {4999, 300, 16, 64, 100}, {9000, 128256, 128, 1024, 96}};

double tolerance(DType dtype) {
  return dtype == DType::kF32 ? kGpuF32 : kGpuBF16;
}

Tensor normal_in(DType dtype, Shape shape, std::uint64_t seed) {
  const Tensor x = normal(shape, seed);
  return dtype == DType::kBF16 ? rounded(x) : x;
}

// Tokens (small ids often, as in text), padding and memory rows.
Tensor ids(const Sizes& s) {
  std::mt19937 draw(11);
  std::vector<std::int32_t> out;
  for (std::int64_t i = 0; i < s.rows; ++i) {
    const double u = static_cast<double>(draw()) / 4294967296.0;
    auto id = static_cast<std::int32_t>(std::pow(static_cast<double>(s.vocabulary), u)) - 1;
    if (i % 7 == 3) id = kPaddingRow;
    if (i % 7 == 5) id = memory_row(static_cast<std::int32_t>(i % s.memory));
    out.push_back(id);
  }
  return Tensor::from<std::int32_t>({s.rows}, out);
}
Tensor places(const Sizes& s) {
  std::vector<std::int32_t> out;
  for (std::int64_t i = 0; i < s.rows; ++i) out.push_back(static_cast<std::int32_t>(i % (s.positions + 1)) - 1);
  return Tensor::from<std::int32_t>({s.rows}, out);
}

TEST(GpuEmbedding, ForwardAgreesWithTheCpu) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Sizes& s : kSizes) {
      SCOPED_TRACE(cat("R ", s.rows, " V ", s.vocabulary, " D ", s.width, " ", name_of(dtype)));
      const Tensor table = normal_in(dtype, {s.vocabulary, s.width}, 1), row = ids(s), at = places(s);
      const Tensor memory = normal_in(dtype, {s.memory, s.width}, 2);
      const Tensor positions = normal_in(dtype, {s.positions, s.width}, 3);
      for (const bool with_positions : {false, true}) {
        const Tensor want = Tensor::empty(kCpu, {s.rows, s.width}, DType::kF32);
        embedding_forward(kCpu, row, at, table, memory, with_positions ? positions : Tensor{}, want);
        const Tensor got = poisoned({s.rows, s.width}, dtype);
        embedding_forward(gpu(), upload(row), with_positions ? upload(at) : Tensor{}, upload(table, dtype),
                          upload(memory, dtype), with_positions ? upload(positions, dtype) : Tensor{}, got);
        // A sum of two numbers, rounded once; without positions a copy.
        if (with_positions) {
          EXPECT_LT(relative_error(got, want), tolerance(dtype));
        } else {
          EXPECT_TRUE(same_bytes(got, want.to(kCpu, dtype)));
        }
      }
    }
  }
}

TEST(GpuEmbedding, BackwardAgreesWithTheCpu) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Sizes& s : kSizes) {
      SCOPED_TRACE(cat("R ", s.rows, " V ", s.vocabulary, " D ", s.width, " ", name_of(dtype)));
      const Tensor dout = normal_in(dtype, {s.rows, s.width}, 4), row = ids(s), at = places(s);
      const std::vector<Tensor> noise = {normal({s.vocabulary, s.width}, 5), normal({s.memory, s.width}, 6),
                                         normal({s.positions, s.width}, 7)};
      std::vector<Tensor> want, got, again;
      for (const Tensor& t : noise) {
        want.push_back(t.clone(kCpu));
        got.push_back(upload(t));
        again.push_back(upload(t));
      }
      embedding_backward(kCpu, dout, row, at, want[0], want[1], want[2]);
      for (const auto& grads : {got, again}) {
        embedding_backward(gpu(), upload(dout, dtype), upload(row), upload(at), grads[0], grads[1], grads[2]);
      }
      // f32 sums of the same numbers in the same order.
      for (std::size_t i = 0; i < want.size(); ++i) {
        EXPECT_LT(relative_error(got[i], want[i]), kGpuF32) << i;
        EXPECT_TRUE(same_bytes(got[i], again[i])) << i;
      }
    }
  }
}

TEST(GpuEmbedding, UnwantedGradientsAreLeftOut) {
  const Sizes s = kSizes[2];
  const Tensor dout = normal({s.rows, s.width}, 4), row = ids(s), at = places(s);
  const Tensor want = Tensor::zeros(kCpu, {s.memory, s.width}, DType::kF32), got = upload(want);
  embedding_backward(kCpu, dout, row, {}, {}, want, {});
  embedding_backward(gpu(), upload(dout), upload(row), {}, {}, got, {});
  EXPECT_LT(relative_error(got, want), kGpuF32);
  embedding_backward(gpu(), upload(dout), upload(row), {}, {}, {}, {});
}

TEST(GpuEmbedding, TablesMayStartAtAnyRow) {
  // An odd width: the second row of a larger table is not aligned.
  const Tensor table = normal({9, 7}, 1), row = Tensor::from<std::int32_t>({3}, {0, 7, 2});
  const Tensor want = Tensor::empty(kCpu, {3, 7}, DType::kF32), got = poisoned({4, 7}, DType::kF32).slice(1, 4);
  embedding_forward(kCpu, row, {}, table.slice(1, 9), {}, {}, want);
  embedding_forward(gpu(), upload(row), {}, upload(table).slice(1, 9), {}, {}, got);
  EXPECT_TRUE(same_bytes(got, want));
  const Tensor dwant = Tensor::zeros(kCpu, {9, 7}, DType::kF32), dgot = upload(dwant);
  embedding_backward(kCpu, want, row, {}, dwant.slice(1, 9), {}, {});
  embedding_backward(gpu(), got, upload(row), {}, dgot.slice(1, 9), {}, {});
  EXPECT_TRUE(same_bytes(dgot, dwant));
}

TEST(GpuEmbedding, IdsOutOfRangeAreAnError) {
  const Tensor table = normal({4, 8}, 1), memory = normal({2, 8}, 2), positions = normal({3, 8}, 3);
  const Tensor bad = Tensor::from<std::int32_t>({4}, {4, 2147483647, -4, -2147483647 - 1});
  const Tensor at = Tensor::from<std::int32_t>({4}, {3, -2, -1, 2147483647}),
               none = Tensor::zeros(kCpu, {4, 8}, DType::kF32);
  const Tensor out = poisoned({4, 8}, DType::kF32);
  embedding_forward(gpu(), upload(bad), upload(at), upload(table), upload(memory), upload(positions), out);
  EXPECT_ERROR(gpu().synchronize(), Error, "embedding: an id or a position is in no table");
  EXPECT_TRUE(same_bytes(out, none));
  const Tensor dtable = upload(table), dmemory = upload(memory), dpositions = upload(positions);
  embedding_backward(gpu(), upload(normal({4, 8}, 4)), upload(bad), upload(at), dtable, dmemory, dpositions);
  EXPECT_TRUE(same_bytes(dtable, table));
  EXPECT_TRUE(same_bytes(dmemory, memory));
  EXPECT_TRUE(same_bytes(dpositions, positions));
}

TEST(GpuEmbedding, NoRows) {
  const Tensor table = upload(normal({4, 8}, 1)), none = Tensor::empty(gpu(), {0}, DType::kI32);
  const Tensor out = Tensor::empty(gpu(), {0, 8}, DType::kF32);
  embedding_forward(gpu(), none, {}, table, {}, {}, out);
  embedding_backward(gpu(), out, none, none, table, {}, table);
  EXPECT_TRUE(same_bytes(table, normal({4, 8}, 1)));
}

}  // namespace
}  // namespace wt::kernels
