#include "train/models/model_source.h"

#include <filesystem>

#include "train/models/finite.h"
#include "train/models/model_config_json.h"
#include "train/notice.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

// The adapter_config.json beside adapters or weights; one without a say where there is none.
AdapterConfig adapter_config_of(const ModelLocation& location) {
  const std::string& beside = location.adapter.empty() ? location.weights : location.adapter;
  const fs::path path = fs::absolute(beside).parent_path() / "adapter_config.json";
  return fs::exists(path) ? read_adapter_config(path.string()) : AdapterConfig{};
}

}  // namespace

Tensor ModelSource::tensor(const WeightMap::Place& place, const std::string& published, bool fits_f32) {
  check_finite(*place.file, place.name, fits_f32);
  return adapters.merged(place.file->tensor(place.name), published, scale);
}

StoredTensor ModelSource::stored(const WeightMap::Place& place, const std::string& published) {
  check_finite(*place.file, place.name);
  return adapters.merged(place.file->stored(place.name), published, *place.file, place.name, scale);
}

void ModelSource::finish() const {
  map.check_all_used();
  adapters.check_all_used();
  if (const std::vector<std::string>& ignored = map.ignored(); !ignored.empty()) {
    print_notice(cat(map.files().front().path(), ": ignored ", ignored.size(),
                     ignored.size() > 1 ? " buffers" : " buffer", ", which the configuration makes anew: ",
                     ignored.front(), ignored.size() > 1 ? " and others of its kind" : ""));
  }
}

ModelSource open_source(const ModelLocation& location, const ModelConfig& config, const LoraScale& scale) {
  const bool own = config.lora.has_value();  // a run's
  AdapterConfig beside;
  if (!location.adapter.empty()) beside = adapter_config_of(location);
  WeightMap map(config, location, beside.ties_saved);
  Adapters adapters(config, map.files());
  // Weights that were merged may have been left beside the settings of their adapters.
  if (location.adapter.empty() && !own && adapters.size() > 0) beside = adapter_config_of(location);
  ModelSource source{config, std::move(map), std::move(adapters), scale};
  if (!source.scale.alpha) source.scale = own ? LoraScale{config.lora->alpha} : beside.scale;
  if (source.adapters.size() > 0 && !source.scale.alpha) {
    throw UsageError(
        cat(location.weights, ": holds LoRA adapters of rank ", source.adapters.rank(),
            ", and no adapter_config.json beside it tells their scale; merge them with it: wavetape convert ",
            location.weights, " OUT_DIR --lora-alpha ALPHA (lora_alpha of the training)"));
  }
  const bool own_head = source.map.has_own_head() || source.adapters.contains("memory_cell.model.lm_head.weight");
  if (own_head) source.config.tie_word_embeddings = false;
  return source;
}

ModelSource open_source(const ModelLocation& location, const LoraScale& scale) {
  return open_source(location, read_model_config(location.config), scale);
}

}  // namespace wt
