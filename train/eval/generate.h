// Text generation: closed segments through a plan, the open one through a key/value cache (schedulers/decoder.h).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/error.h"
#include "layers/model.h"
#include "schedulers/plan.h"
#include "schedulers/reading.h"

namespace wt {

struct GenerateOptions {
  std::int64_t max_new_tokens = 32;
  double temperature = 0;  // 0: greedy; else kernels/sample.h
  double top_p = 1;        // draw from the most likely tokens that together have this probability
  // A prompt's draws are those of its number, wherever it stands in a batch: sample i is prompt first_prompt + i.
  std::uint64_t seed = 1, first_prompt = 0;
  std::vector<std::int32_t> stop_ids;  // generation of a sample ends behind one of these; it is part of the result
  Schedule schedule = Schedule::kDiagonal;
  // A segment that is full is closed before its next token: the same tokens as if prompt and continuation so far were
  // read from the start each time. false: the last segment grows past its size, as in the published code's generation.
  bool close_segments = true;
};

// Hears of every new token as it comes: (sample, id). false ends this sample; the token is part of its result.
using EachToken = std::function<bool(int, std::int32_t)>;

// Logits are not finite.
class NotFinite : public Error {
 public:
  using Error::Error;
};

// New tokens for each prompt (ids in [0, V), at least one each). The prompts are computed together. Throws NotFinite.
std::vector<std::vector<std::int32_t>> generate(const Model& model, const TokenSequences& prompts,
                                                const GenerateOptions& options, const EachToken& each = {});

// The same after what was read, at least one token for each sample. Every token follows from the text before it alone,
// of which a windowed model reads the last `window` tokens: neither the other samples nor max_new_tokens matter, but
// for where it ends. (Rotary scaling "dynamic": layers/rotary_table.h.) `reading` goes on with the new tokens, its
// memory in place: all of them but each sample's last, which nothing has read yet. Without close_segments it must not
// be used any more.
std::vector<std::vector<std::int32_t>> generate_after(const Model& model, Reading& reading,
                                                      const GenerateOptions& options, const EachToken& each = {});

}  // namespace wt
