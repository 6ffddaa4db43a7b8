// BABILong's evaluation sets in JSON, a list of {"input", "question", "target"}, read from disk without ever holding an
// input in memory. (Opened by data/eval_set.h.)
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/pieces.h"

namespace wt {

struct EvalJsonEntry {
  std::string question, target;
  // Bytes [input_begin, input_begin + input_bytes) of the file: the input as it is written there, without its quotes.
  std::int64_t input_begin = 0, input_bytes = 0;
};

// Checks the list up to its `limit`-th sample, or to its end (and what follows it) where it has no more. The keys may
// stand in any order. Throws Error as EvalSet does.
std::vector<EvalJsonEntry> index_eval_json(const std::string& path, std::int64_t limit);

// The text of sample `index`'s input. Throws Error where the file has changed so that it is none any more.
TextPieces eval_json_input(const std::string& path, const EvalJsonEntry& entry, std::int64_t index);

}  // namespace wt
