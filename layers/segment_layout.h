// What stands in a segment's rows: tokens, and the memory's rows before or after them.
// Legend: B samples, T rows, M memory tokens, N table of positions.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace wt {

class Fields;

// How a sequence is cut into segments: all full but the last (left), all full but the first (right), equal parts
// (center).
enum class SegmentAlignment : std::uint8_t { kLeft, kRight, kCenter };
constexpr std::string_view name_of(SegmentAlignment alignment) {
  return alignment == SegmentAlignment::kLeft ? "left" : alignment == SegmentAlignment::kRight ? "right" : "center";
}
// Its key, segment_alignment.
void describe(Fields& fields, SegmentAlignment& alignment);

// A segment's input before its embedding: rows_BT (kernels/embedding.h) and, for a model with a table of positions,
// position_BT. RMT, from the second segment on: memory row carried_from[i] of the (B·M) carried ones is added to the
// row carried_before[i] of the (B·T), and to carried_after[i]; all (r) i32, undefined where there are none.
struct EmbeddingRows {
  Tensor rows, position;
  Tensor carried_from, carried_before, carried_after;
  EmbeddingRows to(const Stream& stream) const;
  // Overwrites equally shaped ones.
  void copy_from(const Stream& stream, const EmbeddingRows& source) const;
};

// Rows of one sample, in this order; all or some of a segment's.
struct SampleRows {
  bool before = false;  // the memory's rows before the tokens
  std::span<const std::int32_t> tokens{};
  bool after = false;         // the memory's rows after them
  bool carried = false;       // RMT: these are carried, not learned
  std::int64_t position = 0;  // of the first row
};

struct SegmentLayout {
  std::int64_t before = 0, after = 0;  // memory rows: RMT both, ARMT after
  bool carries = false;        // RMT: from the second segment on they are the last one's, and count as positions
  std::int64_t positions = 0;  // entries of the table of positions; 0: there is none

  std::int64_t memory_rows() const { return before + after; }
  std::int64_t rows(std::int64_t tokens) const { return before + tokens + after; }
  std::int64_t row_of(std::int64_t token) const { return before + token; }

  // For T rows of each sample, on the CPU. A token's position is its row's; ARMT's memory rows have the table's last.
  EmbeddingRows embedding_rows(const std::vector<SampleRows>& samples, std::int64_t t) const;
};

}  // namespace wt
