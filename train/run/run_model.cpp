#include "train/run/run_model.h"

#include <filesystem>

#include "data/story_encoder.h"
#include "layers/adapter.h"
#include "layers/families/family.h"
#include "train/models/end_tokens.h"
#include "train/models/model_config_json.h"
#include "train/models/model_io.h"

namespace wt {
namespace fs = std::filesystem;
namespace {

// The tokens that end a text: the task's own, the configuration's, those of the folder the model comes from, or the
// tokenizer's.
std::vector<std::int64_t> resolve_end_tokens(const Config& config, const Tokenizer& tokenizer,
                                             std::int64_t vocab_size) {
  std::vector<std::int64_t> ids = config.model.eos_ids;
  for (const std::int64_t id : ids) {
    if (id >= vocab_size) config.places.fail("model.eos_id", cat("is ", id, ", the vocabulary has ", vocab_size));
  }
  if (config.data.is_retrieval()) {
    const std::int64_t own = find_end_token(tokenizer);
    if (!ids.empty() && ids != std::vector{own}) {
      config.places.fail("model.eos_id", cat("is ", ids.front(), ", the task's own tokenizer ends texts with ", own));
    }
    return {own};
  }
  if (!config.model_from.empty()) {
    const auto from = end_tokens(find_model(config.model_from), tokenizer);
    ids.assign(from.begin(), from.end());
  }
  if (ids.empty()) ids = {find_end_token(tokenizer)};
  return ids;
}

}  // namespace

Tokenizer load_tokenizer(const Config& config) {
  if (!config.model_from.empty() && !fs::is_directory(config.model_from)) {
    config.places.fail("model.from", cat("no folder ", config.model_from,
                                         "; expected config.json, model.safetensors and tokenizer.json in it: "
                                         "'model.from=DIR data.tokenizer=DIR' names yours"));
  }
  if (config.data.is_retrieval()) return retrieval_tokenizer(config.data.retrieval);
  if (!fs::exists(config.data.tokenizer)) {
    config.places.fail("data.tokenizer", cat("is '", config.data.tokenizer, "', and there is no such file or folder; ",
                                             "expected a tokenizer.json, or a folder with one"));
  }
  return Tokenizer::load(config.data.tokenizer);
}

ModelConfig resolve_model(const Config& config, const Tokenizer& tokenizer) {
  ModelConfig model = config.model;
  if (!config.model_from.empty()) {
    model = config_of(find_model(config.model_from));
    model.dropout = config.model.dropout;
    model.lora = config.model.lora;  // the folder's own adapters are merged as they are read
    if (config.model.has_memory()) {
      if ((model.armt && config.model.rmt) || (model.rmt && config.model.armt)) {
        config.places.fail(model.armt ? "model.rmt" : "model.armt",
                           cat("the model of ", config.model_from, " has the other memory already"));
      }
      model.armt = config.model.armt;
      model.rmt = config.model.rmt;
      model.window = 0;
    }
    if (config.model.own_segment_size > 0 || model.has_memory()) model.own_segment_size = config.model.own_segment_size;
    family_of(model).fix(model);
    if (config.model.window > 0) {
      if (model.has_memory())
        config.places.fail("model.window", cat("the model of ", config.model_from, " has a memory"));
      model.window = config.model.window;
    }
    check_model(model,
                [&](const std::string& key, const std::string& what) { config.places.fail("model." + key, what); });
  }
  if (model.vocab_size == 0) model.vocab_size = tokenizer.vocab_size();
  if (model.vocab_size < tokenizer.vocab_size()) {
    config.places.fail("model.vocab_size",
                       cat("is ", model.vocab_size, ", the tokenizer has ids up to ", tokenizer.vocab_size() - 1));
  }
  model.eos_ids = resolve_end_tokens(config, tokenizer, model.vocab_size);
  if (model.lora) {
    ModelConfig backbone = model;
    backbone.lora.reset();
    const Model names(backbone, DType::kF32, {}, WeightUse::kNamesOnly);
    if (const auto unmatched = find_unmatched_target(*model.lora, names.parameters())) {
      config.places.fail(cat("model.lora.targets.", unmatched->first), unmatched->second);
    }
  }
  return model;
}

}  // namespace wt
