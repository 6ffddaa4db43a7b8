// Attention over a text: however it is cut into segments, it is attention over the whole of it.
#include "kernels/text_attention.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/kernels/support.h"
#include "tests/support/expect_error.h"

namespace wt::kernels {
namespace {

const Stream kStream;
// Sums in another order, of some hundred products.
constexpr double kRounding = 1e-12;

// Texts in the lanes of a cache, all of them cut differently. Everything that no text has is NaN.
struct Texts {
  AttentionHeads heads;
  std::int64_t g, b, capacity, segment;      // segment: rows of a wave
  std::vector<std::int32_t> length, origin;  // by cell

  std::int64_t cells() const { return g * b; }
  std::int64_t longest() const { return *std::max_element(length.begin(), length.end()); }
  Shape rows(std::int64_t t, std::int64_t width) const { return {g, b, t, width}; }
  Shape cache() const { return {g, b, capacity, heads.key_value, heads.width}; }
};

// The rows of each cell's next segment: as many as the wave has, fewer or none.
std::vector<std::int32_t> next_rows(const Texts& texts, const std::vector<std::int32_t>& past, int wave) {
  std::vector<std::int32_t> rows;
  for (std::size_t i = 0; i < past.size(); ++i) {
    const auto most = static_cast<std::int32_t>(texts.segment);
    const int kind = (wave + static_cast<int>(i)) % 3;
    const std::int32_t wish = kind == 0 ? most : kind == 1 ? most / 2 + 1 : wave % 2;
    rows.push_back(std::min(wish, texts.length[i] - past[i]));
  }
  return rows;
}

// Rows [from, from + count) of a cell's (…, T, W), put to or taken from row `to` on of a cell of another tensor.
void move_rows(const Tensor& source, std::int64_t from, const Tensor& target, std::int64_t to, std::int64_t cell,
               std::int64_t count) {
  const std::int64_t b = source.dim(1);
  target.select(cell / b)
      .select(cell % b)
      .slice(to, to + count)
      .copy_from(kStream, source.select(cell / b).select(cell % b).slice(from, from + count));
}

struct Wave {
  std::vector<std::int32_t> past, rows;
  Tensor qkv, out, lse;
  Cells cells(const Texts& texts) const {
    Cells cells;
    cells.rows = integers({texts.g, texts.b}, rows);
    cells.past = integers({texts.g, texts.b}, past);
    cells.origin = integers({texts.g, texts.b}, texts.origin);
    return cells;
  }
};

void compare_with_whole(const Texts& texts) {
  const DType dtype = DType::kF64;
  const std::int64_t n = texts.longest(), w = texts.heads.row_width(), h = texts.heads.query;
  const std::int64_t width = h * texts.heads.width;
  const Tensor qkv = normal_tensor(texts.rows(n, w), 1, dtype), dout = normal_tensor(texts.rows(n, width), 2, dtype);
  for (std::int64_t cell = 0; cell < texts.cells(); ++cell) {  // rows behind a text's end give nothing
    const std::int64_t end = texts.length[static_cast<std::size_t>(cell)];
    dout.select(cell / texts.b).select(cell % texts.b).slice(end, n).fill_zero(kStream);
  }
  const Tensor out = poisoned(texts.rows(n, width), dtype), lse = poisoned({texts.g, texts.b, h, n}, dtype),
               dqkv = poisoned(qkv.shape(), dtype);
  attention_forward(kStream, qkv, texts.heads, out, lse);
  attention_backward(kStream, dout, qkv, out, lse, texts.heads, dqkv);

  const Tensor keys = poisoned(texts.cache(), dtype), values = poisoned(texts.cache(), dtype);
  std::vector<Wave> waves;
  std::vector<std::int32_t> past(texts.length.size(), 0);
  const Tensor got = poisoned(out.shape(), dtype), got_dqkv = poisoned(qkv.shape(), dtype);
  while (past != texts.length) {
    Wave wave{past, next_rows(texts, past, static_cast<int>(waves.size())),
              poisoned(texts.rows(texts.segment, w), dtype), poisoned(texts.rows(texts.segment, width), dtype),
              poisoned({texts.g, texts.b, h, texts.segment}, dtype)};
    for (std::int64_t cell = 0; cell < texts.cells(); ++cell) {
      const auto i = static_cast<std::size_t>(cell);
      move_rows(qkv, past[i], wave.qkv, 0, cell, wave.rows[i]);
    }
    text_attention_forward(kStream, wave.qkv, texts.heads, wave.cells(texts), keys, values, wave.out, wave.lse);
    for (std::int64_t cell = 0; cell < texts.cells(); ++cell) {
      const auto i = static_cast<std::size_t>(cell);
      move_rows(wave.out, 0, got, past[i], cell, wave.rows[i]);
      const Tensor rest = wave.out.select(cell / texts.b).select(cell % texts.b).slice(wave.rows[i], texts.segment);
      for (const double value : values_of(rest)) EXPECT_EQ(value, 0);
      for (std::int64_t head = 0; head < h; ++head) {
        const Tensor sums = wave.lse.select(cell / texts.b).select(cell % texts.b).select(head).slice(0, wave.rows[i]);
        const Tensor want = lse.select(cell / texts.b).select(cell % texts.b).select(head);
        EXPECT_LT(largest_error(values_of(sums), values_of(want.slice(past[i], past[i] + wave.rows[i]))), kRounding);
      }
      past[i] += wave.rows[i];
    }
    waves.push_back(wave);
  }
  EXPECT_GT(waves.size(), 2u);

  const Tensor dkeys = poisoned(texts.cache(), dtype), dvalues = poisoned(texts.cache(), dtype);
  for (std::int64_t cell = 0; cell < texts.cells(); ++cell) {
    const auto i = static_cast<std::size_t>(cell);
    for (const Tensor& grad : {dkeys, dvalues}) {
      const std::int64_t begin = texts.origin[i], end = begin + texts.length[i];
      grad.select(cell / texts.b).select(cell % texts.b).slice(begin, end).fill_zero(kStream);
    }
  }
  for (std::size_t s = waves.size(); s-- > 0;) {
    const Wave& wave = waves[s];
    const Tensor piece = poisoned(wave.out.shape(), dtype), dpiece = poisoned(wave.qkv.shape(), dtype);
    for (std::int64_t cell = 0; cell < texts.cells(); ++cell) {
      const auto i = static_cast<std::size_t>(cell);
      move_rows(dout, wave.past[i], piece, 0, cell, wave.rows[i]);
    }
    text_attention_backward(kStream, piece, wave.qkv, wave.out, wave.lse, texts.heads, wave.cells(texts), keys, values,
                            dkeys, dvalues, dpiece);
    for (std::int64_t cell = 0; cell < texts.cells(); ++cell) {
      const auto i = static_cast<std::size_t>(cell);
      move_rows(dpiece, 0, got_dqkv, wave.past[i], cell, wave.rows[i]);
      const Tensor rest = dpiece.select(cell / texts.b).select(cell % texts.b).slice(wave.rows[i], texts.segment);
      for (const double value : values_of(rest)) EXPECT_EQ(value, 0);
    }
  }
  for (std::int64_t cell = 0; cell < texts.cells(); ++cell) {
    const std::int64_t end = texts.length[static_cast<std::size_t>(cell)];
    const auto part = [&](const Tensor& all) {
      return values_of(all.select(cell / texts.b).select(cell % texts.b).slice(0, end));
    };
    EXPECT_LT(largest_error(part(got), part(out)), kRounding) << cell;
    EXPECT_LT(largest_error(part(got_dqkv), part(dqkv)), kRounding) << cell;
  }
}

TEST(TextAttention, AnySegmentsAreTheWholeText) {
  compare_with_whole({{4, 2, 3}, 2, 2, 40, 1, {9, 20, 1, 33}, {0, 3, 39, 7}});
  compare_with_whole({{4, 2, 3}, 2, 2, 40, 7, {9, 20, 0, 33}, {0, 3, 12, 7}});
  compare_with_whole({{3, 3, 5}, 1, 3, 200, 70, {190, 71, 64}, {10, 0, 136}});
}

TEST(TextAttention, TextsOfManyBlocksOfKeys) {
  compare_with_whole({{2, 1, 4}, 1, 2, 1300, 300, {1250, 700}, {50, 1}});
}

TEST(TextAttention, OpenRowsCountAsPast) {
  const AttentionHeads heads{4, 2, 3};
  const Tensor qkv = normal_tensor({1, 2, 5, heads.row_width()}, 1, DType::kF64);
  const auto run = [&](const std::vector<std::int32_t>& past, const std::vector<std::int32_t>& open) {
    const Tensor keys = normal_tensor({1, 2, 20, 2, 3}, 2, DType::kF64),
                 values = normal_tensor({1, 2, 20, 2, 3}, 3, DType::kF64);
    const Tensor out = poisoned({1, 2, 5, 12}, DType::kF64);
    Cells cells;
    cells.rows = integers({1, 2}, {5, 2});
    cells.past = integers({1, 2}, past);
    cells.origin = integers({1, 2}, {1, 4});
    if (!open.empty()) cells.open = integers({1, 2}, open);
    text_attention_forward(kStream, qkv, heads, cells, keys, values, out, {});
    return std::vector<std::vector<double>>{values_of(out), values_of(keys), values_of(values)};
  };
  EXPECT_EQ(run({3, 0}, {6, 2}), run({9, 2}, {}));
  EXPECT_NE(run({3, 0}, {6, 2}), run({3, 0}, {}));
}

TEST(TextAttention, GradientsOfEarlierRowsMayBeUnwanted) {
  const AttentionHeads heads{4, 2, 3};
  const Shape rows{1, 2, 5, heads.row_width()}, outs{1, 2, 5, 12}, cache{1, 2, 20, 2, 3};
  const Tensor qkv = normal_tensor(rows, 1, DType::kF64), dout = normal_tensor(outs, 4, DType::kF64);
  const Tensor keys = normal_tensor(cache, 2, DType::kF64), values = normal_tensor(cache, 3, DType::kF64);
  const Tensor out = poisoned(outs, DType::kF64), lse = poisoned({1, 2, 4, 5}, DType::kF64);
  Cells cells;
  cells.rows = integers({1, 2}, {5, 2});
  cells.past = integers({1, 2}, {9, 0});
  cells.origin = integers({1, 2}, {1, 4});
  text_attention_forward(kStream, qkv, heads, cells, keys, values, out, lse);
  const auto run = [&](const Tensor& dkeys, const Tensor& dvalues) {
    const Tensor dqkv = poisoned(rows, DType::kF64);
    text_attention_backward(kStream, dout, qkv, out, lse, heads, cells, keys, values, dkeys, dvalues, dqkv);
    return values_of(dqkv);
  };
  const Tensor zeros = Tensor::zeros(kStream, cache, DType::kF64);
  EXPECT_EQ(run({}, {}), run(zeros, zeros.clone(kStream)));
  EXPECT_ERROR(run(zeros, {}), Error, "text attention backward: dkeys and dvalues go together");
}

TEST(TextAttention, Errors) {
  const AttentionHeads heads{4, 2, 3};
  const auto f = [](const Shape& shape) { return Tensor::zeros(kStream, shape, DType::kF32); };
  Cells cells;
  cells.rows = integers({1, 1}, {2});
  cells.past = integers({1, 1}, {5});
  const auto run = [&](const Shape& qkv, const Shape& cache) {
    text_attention_forward(kStream, f(qkv), heads, cells, f(cache), f(cache), f({1, 1, 2, 12}), {});
  };
  EXPECT_ERROR(run({1, 1, 2, 24}, {1, 1, 9, 2, 3}), Error, "text attention: cells without past and origin");
  cells.origin = integers({1, 1}, {3});
  EXPECT_ERROR(run({1, 1, 2, 24}, {1, 1, 9, 2, 3}), Error,
               "text attention: rows [8, 10) of a text from row 3 on, in a cache of 9");
  EXPECT_ERROR(run({1, 1, 2, 23}, {1, 1, 9, 2, 3}), Error, "text attention: qkv is f32[1,1,2,23], expected rows of 24");
  EXPECT_ERROR(run({1, 1, 2, 24}, {1, 1, 9, 3, 3}), Error, "text attention: keys");
  EXPECT_ERROR(run({1, 1, 1, 24}, {1, 1, 10, 2, 3}), Error, "text attention: out");
  cells.rows = integers({1, 1}, {3});
  EXPECT_ERROR(run({1, 1, 2, 24}, {1, 1, 19, 2, 3}), Error, "text attention: 3 rows in use of 2");
  cells.rows = integers({1, 1}, {1});
  cells.past = integers({1, 1}, {-1});
  EXPECT_ERROR(run({1, 1, 2, 24}, {1, 1, 9, 2, 3}), Error, "text attention: rows [2, 3) of a text from row 3 on");
  cells.rows = integers({1, 1}, {0});  // a cell without rows may have any place
  run({1, 1, 2, 24}, {1, 1, 9, 2, 3});
  cells.past = integers({1, 2}, {0, 0});
  EXPECT_ERROR(run({1, 1, 2, 24}, {1, 1, 9, 2, 3}), Error, "text attention: cells.past is [1,2], expected [1,1]");
}

}  // namespace
}  // namespace wt::kernels
