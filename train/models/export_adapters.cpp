#include "train/models/export_adapters.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "core/files.h"
#include "train/models/lora.h"
#include "train/models/memory_config.h"
#include "train/models/model_config_json.h"
#include "train/models/model_folder.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

// The last part of a module's name: "W_mq" of "….W_mq.weight". "" for a parameter that has no module of its own, the
// memory tokens.
std::string module_name(const std::string& published) {
  for (const char* end : {".weight", ".bias"}) {
    if (!published.ends_with(end)) continue;
    const std::string module = published.substr(0, published.rfind('.'));
    return module.substr(module.rfind('.') + 1);
  }
  return "";
}

std::string adapter_config(const ModelConfig& config, const std::string& base, const std::set<std::string>& saved) {
  using Json = nlohmann::ordered_json;
  const LoraConfig& lora = *config.lora;
  Json json;
  json["peft_type"] = "LORA";
  json["task_type"] = "CAUSAL_LM";
  json["base_model_name_or_path"] = base.empty() ? Json() : Json(base);
  json["r"] = lora.rank;
  // PEFT has a whole number there; a fraction works as well.
  json["lora_alpha"] = lora.alpha == static_cast<double>(static_cast<std::int64_t>(lora.alpha))
                           ? Json(static_cast<std::int64_t>(lora.alpha))
                           : Json(lora.alpha);
  json["lora_dropout"] = lora.dropout;
  json["target_modules"] = lora.targets;
  json["modules_to_save"] = saved.empty() ? Json() : Json(saved);
  json["bias"] = "none";
  json["fan_in_fan_out"] = config.layout == kernels::WeightLayout::kInOut;
  json["init_lora_weights"] = true;
  json["inference_mode"] = true;
  json["use_rslora"] = false;
  json["use_dora"] = false;
  json["rank_pattern"] = Json::object();
  json["alpha_pattern"] = Json::object();
  json["layers_to_transform"] = nullptr;
  json["layers_pattern"] = nullptr;
  return json.dump(2) + "\n";
}

}  // namespace

std::int64_t export_adapters(const ModelLocation& location, const std::string& base, const std::string& folder) {
  ModelConfig config = read_model_config(location.config);
  if (!config.lora) {
    throw UsageError(cat(location.config, ": the model has no adapters (model.lora); export it without --adapters"));
  }
  std::vector<StoredTensor> tensors;
  std::set<std::string> saved;
  std::int64_t adapters = 0;
  const auto take = [&](const std::string& path, bool adapters_only) {
    const SafetensorsFile file = SafetensorsFile::open(path);
    for (const std::string& name : file.names()) {
      const bool adapter = is_adapter_tensor(name);
      // A table of positions has rows for ARMT's memory, which a plain base model has not.
      const bool grown = config.armt && config.has_positions() && name.ends_with(config.names.positions + ".weight");
      if (!adapter && adapters_only && !grown) continue;
      tensors.push_back(file.stored(name));
      tensors.back().name = "base_model.model." + name;
      if (!adapter && !module_name(name).empty()) saved.insert(module_name(name));
      adapters += adapter ? 1 : 0;
    }
  };
  take(location.weights, location.base.empty());
  if (!location.base.empty()) take(location.base, true);  // adapters may be frozen, too

  make_folder(folder, [&](const std::string& partial) {
    const fs::path at(partial);
    write_stored_tensors((at / "adapter_model.safetensors").string(), tensors, {{"format", "pt"}});
    write_file((at / "adapter_config.json").string(), adapter_config(config, base, saved));
    const bool f64 = !tensors.empty() && tensors.front().dtype == "F64";
    config.lora.reset();
    write_model_config(partial, config, format_model_config(config, f64 ? DType::kF64 : DType::kF32));
    if (location.tokenizer.empty()) return;
    const fs::path tokenizer(location.tokenizer);
    copy_side_files(fs::is_directory(tokenizer) ? tokenizer.string() : tokenizer.parent_path().string(), partial);
  });
  return adapters / 2;
}

}  // namespace wt
