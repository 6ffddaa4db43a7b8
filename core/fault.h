// What only a GPU sees: a number in its memory that a kernel cannot use, since the host gave it away unread. The kernel
// leaves it out, writes its code to the process's fault word, and the next wait for a GPU throws (core/cuda.h).
#pragma once

#include <cstdint>

namespace wt {

enum class Fault : std::int32_t {
  kNone,
  kRotaryEntry,   // rotary: an entry that the table of angles does not have
  kCacheRow,      // cached attention: a row that the key/value cache does not have
  kTextRow,       // text attention: a row that the cache of the text does not have
  kRow,           // take_rows, gather_rows, scatter_add_rows, put_rows: a row that the tensor does not have
  kEmbeddingRow,  // embedding: an id or a position that is in no table
  kTargetId,      // cross entropy: a target outside the vocabulary
  kLayerPlace     // norms: a place in the order of layers that the tensor does not have
};

constexpr const char* text_of(Fault fault) {
  switch (fault) {
    case Fault::kRotaryEntry:
      return "rotary: a position is beyond the table of angles";
    case Fault::kCacheRow:
      return "cached attention: a row is beyond the key/value cache";
    case Fault::kTextRow:
      return "text attention: a row is beyond the cache of its text";
    case Fault::kRow:
      return "rows: an index names no row of its tensor";
    case Fault::kEmbeddingRow:
      return "embedding: an id or a position is in no table";
    case Fault::kTargetId:
      return "cross entropy: a target is no id of the vocabulary";
    case Fault::kLayerPlace:
      return "norm: an order names no layer of its tensor";
    default:
      return "no fault";
  }
}

}  // namespace wt
