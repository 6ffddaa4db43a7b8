#include "train/models/end_tokens.h"

#include <filesystem>

#include "data/story_encoder.h"
#include "train/models/model_config_json.h"

namespace wt {

std::vector<std::int32_t> end_tokens(const ModelLocation& location, const Tokenizer& tokenizer) {
  const ModelConfig config = read_model_config(location.config);
  std::vector<std::int32_t> ids;
  const auto take = [&](const std::vector<std::int64_t>& named) {
    for (const std::int64_t id : named) {
      if (id < config.vocab_size) ids.push_back(static_cast<std::int32_t>(id));
    }
  };
  const std::filesystem::path generation =
      std::filesystem::path(location.config).parent_path() / "generation_config.json";
  if (std::filesystem::exists(generation)) take(read_token_ids(generation.string(), "eos_token_id"));
  if (ids.empty()) take(config.eos_ids);
  if (const auto named = settings_end_token(tokenizer); ids.empty() && named) take({*named});
  return ids;
}

}  // namespace wt
