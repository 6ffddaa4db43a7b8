#include "layers/segment_layout.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/embedding.h"

namespace wt {
namespace {

using Ids = std::vector<std::int32_t>;
constexpr std::int32_t kNone = kernels::kPaddingRow;

Ids ids(const Tensor& tensor) {
  return tensor.to_vector<std::int32_t>();
}

TEST(SegmentLayout, ArmtsMemoryStandsBehindTheTokens) {
  const SegmentLayout layout{.after = 2, .positions = 10};
  EXPECT_EQ(layout.rows(5), 7);
  EXPECT_EQ(layout.row_of(3), 3);
  const Ids first{7, 8, 9}, second{4};
  const EmbeddingRows rows =
      layout.embedding_rows({{.tokens = first, .after = true}, {.tokens = second, .after = true}}, 6);
  EXPECT_EQ(ids(rows.rows), (Ids{7, 8, 9, -2, -3, kNone, 4, -2, -3, kNone, kNone, kNone}));
  // The memory's positions are the table's last.
  EXPECT_EQ(ids(rows.position), (Ids{0, 1, 2, 8, 9, -1, 0, 8, 9, -1, -1, -1}));
  EXPECT_FALSE(rows.carried_from.defined());
}

TEST(SegmentLayout, WithoutATableThereAreNoPositions) {
  const Ids tokens{3, 5};
  const EmbeddingRows rows = SegmentLayout{}.embedding_rows({{.tokens = tokens}, {}}, 2);
  EXPECT_EQ(ids(rows.rows), (Ids{3, 5, kNone, kNone}));
  EXPECT_FALSE(rows.position.defined());
}

TEST(SegmentLayout, RmtsRowsAreLearnedFirstAndThenCarried) {
  const SegmentLayout layout{.before = 2, .after = 2, .carries = true, .positions = 20};
  EXPECT_EQ(layout.rows(3), 7);
  EXPECT_EQ(layout.row_of(0), 2);
  const Ids tokens{7};
  const SampleRows learned{.before = true, .tokens = tokens, .after = true};
  SampleRows carried = learned;
  carried.carried = true;
  const EmbeddingRows rows = layout.embedding_rows({learned, carried}, 5);
  EXPECT_EQ(ids(rows.rows), (Ids{-2, -3, 7, -2, -3, kNone, kNone, 7, kNone, kNone}));
  EXPECT_EQ(ids(rows.position), (Ids{0, 1, 2, 3, 4, 0, 1, 2, 3, 4}));
  EXPECT_EQ(ids(rows.carried_from), (Ids{2, 3}));  // of the (B·M): the second sample's
  EXPECT_EQ(ids(rows.carried_before), (Ids{5, 6}));
  EXPECT_EQ(ids(rows.carried_after), (Ids{8, 9}));
}

TEST(SegmentLayout, PartsOfAnOpenSegmentGoOnFromTheirPosition) {
  const SegmentLayout layout{.before = 2, .after = 2, .carries = true, .positions = 20};
  const Ids tokens{5, 6};
  EXPECT_EQ(ids(layout.embedding_rows({{.tokens = tokens, .position = 4}}, 2).position), (Ids{4, 5}));
  const EmbeddingRows end = layout.embedding_rows({{.after = true, .carried = true, .position = 6}, {}}, 2);
  EXPECT_EQ(ids(end.position), (Ids{6, 7, -1, -1}));
  EXPECT_EQ(ids(end.carried_from), (Ids{0, 1}));
  EXPECT_FALSE(end.carried_before.defined());
  EXPECT_EQ(ids(end.carried_after), (Ids{0, 1}));
}

TEST(SegmentLayout, RowsAreOverwrittenInPlace) {
  const SegmentLayout layout{.before = 1, .after = 1, .carries = true, .positions = 9};
  const Ids first{1, 2}, second{3, 4};
  const auto rows_of = [&](const Ids& tokens) {
    return layout.embedding_rows({{.before = true, .tokens = tokens, .after = true, .carried = true}}, 4);
  };
  const EmbeddingRows rows = rows_of(first).to(Stream{});
  rows.copy_from(Stream{}, rows_of(second));
  EXPECT_EQ(ids(rows.rows), ids(rows_of(second).rows));
  EXPECT_EQ(ids(rows.carried_after), (Ids{3}));
}

}  // namespace
}  // namespace wt
