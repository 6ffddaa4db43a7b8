// The chunking study: what it costs to read a prompt chunk by chunk, and what handing the state from chunk to chunk
// costs (Mamba2Config::passes_state). A chunk is a segment: what is read at once.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "layers/model.h"

namespace wt {

struct ChunkingCase {
  bool passes_state = true;  // "passed", else "independent"
  bool cached = true;        // the state of what was read is kept; else every token reads the whole text again
  std::int64_t chunk = 256, prompt = 4096, new_tokens = 100;  // tokens
  std::string strategy() const { return passes_state ? "passed" : "independent"; }
};

struct ChunkingRow {
  ChunkingCase of;
  std::int64_t chunks = 0;       // of the prompt
  double first_token = 0;        // seconds from the prompt to the first new token
  double latency = 0;            // seconds to the last one
  double between_tokens = 0;     // mean seconds of the others
  double tokens_per_second = 0;  // new tokens / latency
  std::uint64_t peak_bytes = 0;  // of tensors: weights, state, activations
};

// Greedy, one prompt of random ids. The model must be of the case's strategy, and reads by its chunks from here on.
// `repeats` timed runs behind one that is not: the one of median latency.
ChunkingRow bench_chunking(Model& model, const ChunkingCase& of, int repeats);

// By prompt length, a line for each strategy and chunk: of the rows that are cached, or of the others.
struct ChunkingPicture {
  std::string name, svg;  // "first_token", "latency", "tokens_per_second", "memory"; with "_uncached"
};
std::vector<ChunkingPicture> chunking_pictures(const std::vector<ChunkingRow>& rows, const std::string& subtitle);

}  // namespace wt
