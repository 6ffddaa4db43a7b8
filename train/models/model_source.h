// A model on disk with everything that decides its weights: files, adapters, and how the adapters are scaled.
#pragma once

#include <string>

#include "train/models/lora.h"
#include "train/models/weight_map.h"

namespace wt {

struct ModelSource {
  ModelConfig config;  // config.json's; a head that differs from the table which it says it is is not tied
  WeightMap map;
  Adapters adapters;
  LoraScale scale;

  // The numbers of a published parameter that stands at `place`, adapters merged. Throws Error where one is not finite
  // (fits_f32: in f32).
  Tensor tensor(const WeightMap::Place& place, const std::string& published, bool fits_f32);
  // The same in the dtype that the file has; its bytes where nothing is merged. `name` and shape are the file's.
  StoredTensor stored(const WeightMap::Place& place, const std::string& published);
  // Throws Error for tensors that were never asked for; says which buffers were left out, and what was merged.
  void finish() const;
};

// `scale`: in place of what the run's config.json or an adapter_config.json says. Throws UsageError where there are
// adapters and none of these tells their scale.
ModelSource open_source(const ModelLocation& location, const LoraScale& scale = {});
// The same under another config than the one beside the weights.
ModelSource open_source(const ModelLocation& location, const ModelConfig& config, const LoraScale& scale);

}  // namespace wt
