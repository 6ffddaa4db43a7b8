// A run before its folder is touched: all that a configuration can be wrong about is found here.
#pragma once

#include <memory>
#include <optional>

#include "data/tokenizer.h"
#include "layers/model.h"
#include "train/config.h"
#include "train/run/curriculum.h"

namespace wt {

struct RunSetup {
  Tokenizer tokenizer;
  std::unique_ptr<Model> model;  // frozen as the configuration says; its weights are fresh
  std::unique_ptr<Curriculum> curriculum;
};

// Fits the schedule to the model; `config` must outlive the curriculum. `kept` is the tokenizer of a run that goes on,
// which its folder keeps; else it is the configuration's. Throws UsageError with the key's place, or
// Error: for a device, dtype or file that is not there, sizes that do not fit together, stages without samples, and a
// stage that needs more memory than there is (check_memory()).
RunSetup set_up_run(Config& config, const std::optional<Tokenizer>& kept = {});

// Throws UsageError with the place of the batch size, and the largest that would do, where a stage's estimate
// (train/costs.h; with activations: auto that of recompute) is more than the device can hold.
void check_memory(const Config& config, const ModelConfig& model, std::int64_t parameters, std::int64_t trained,
                  Device device);

}  // namespace wt
