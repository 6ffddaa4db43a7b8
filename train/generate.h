// Text generation: closed segments through a plan, the open one through a key/value cache (schedulers/decoder.h).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "layers/model.h"
#include "schedulers/plan.h"

namespace wt {

struct GenerateOptions {
  std::int64_t max_new_tokens = 32;
  double temperature = 0;  // 0: greedy
  double top_p = 1;        // draw from the most likely tokens that together have this probability
  std::uint64_t seed = 1;
  std::vector<std::int32_t> stop_ids;  // generation of a sample ends behind one of these; it is part of the result
  Schedule schedule = Schedule::kDiagonal;
};

// New tokens for each prompt (ids in [0, V), at least one each). The prompts are computed together. `each`, where
// given, hears of every new token as it comes: each(prompt, id).
std::vector<std::vector<std::int32_t>> generate(const Model& model,
                                                const std::vector<std::vector<std::int32_t>>& prompts,
                                                const GenerateOptions& options,
                                                const std::function<void(int, std::int32_t)>& each = {});

// One draw from softmax(logits / temperature) restricted to the top_p nucleus; temperature 0: the first largest logit.
std::int32_t sample_token(const std::vector<double>& logits, double temperature, double top_p, double uniform);

}  // namespace wt
