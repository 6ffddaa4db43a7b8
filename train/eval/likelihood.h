// How likely a model takes given tokens to be at the end of given texts.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "layers/model.h"
#include "schedulers/plan.h"

namespace wt {

// Tokens of a text, and what its last ones are labelled with: labels[i] stands for ids[n - k + i] (n ids, k labels,
// k < n or none), whatever token is there.
struct LabelledText {
  std::vector<std::int32_t> ids, labels;
};

// mean_i log p(labels[i] | the ids before it), in nats, summed in double; nothing for a text without labels. Texts are
// computed `batch_size` at a time, of about the same length, and neither that nor their order matters. `progress` hears
// after each batch how many texts are done; false stops, and nothing is returned. Throws NotFinite
// (train/eval/generate.h).
std::vector<std::optional<double>> mean_log_likelihoods(const Model& model, const std::vector<LabelledText>& texts,
                                                        std::int64_t batch_size, Schedule schedule,
                                                        const std::function<bool(std::int64_t)>& progress = {});

}  // namespace wt
