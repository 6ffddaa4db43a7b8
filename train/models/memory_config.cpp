#include "train/models/memory_config.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/json_fields.h"
#include "layers/families/family.h"

namespace wt {

namespace {

// Whether modeling_wavetape.py knows it.
bool has_code(const ModelConfig& config) {
  return config.has_memory() && (config.family == "llama" || config.family == "gpt2");
}

}  // namespace

void put_memory(nlohmann::ordered_json& json, const ModelConfig& config, ConfigForm form) {
  if (!config.has_memory()) return;
  const Family& family = family_of(config);
  // A library that knows the backbone would load it without its memory.
  if (form == ConfigForm::kOwn && !family.architecture.empty()) {
    const std::string name = config.armt ? "Armt" : "Rmt", prefix = cat(kModelingModule, ".", name);
    json["architectures"] = {name + "ForCausalLM"};
    json["model_type"] = config.armt ? "armt" : "rmt";
    json["backbone_type"] = family.name;
    if (has_code(config)) {
      json["auto_map"] = {{"AutoConfig", prefix + "Config"}, {"AutoModelForCausalLM", prefix + "ForCausalLM"}};
    } else {
      json.erase("auto_map");
    }
  } else {
    if (!family.architecture.empty()) json["architectures"] = {family.architecture};
    json["model_type"] = family.name;
    json.erase("backbone_type");
    json.erase("auto_map");
  }
  const auto put = [&](const char* key, auto memory) {
    if (memory) json[key] = write_json_fields([&](Fields& fields) { describe(fields, *memory); });
  };
  put("armt", config.armt);
  put("rmt", config.rmt);
}

std::string updated_config(const std::string& text, const std::string& name, const ModelConfig& config,
                           ConfigForm form) {
  nlohmann::ordered_json json = parse_ordered_json(text, name);
  if (!json.is_object()) throw Error(cat(name, ": not a JSON object, expected a model's config"));
  put_memory(json, config, form);
  // Absent it means what the backbone's library takes for granted.
  const bool usual = config.family == "gpt2";
  const auto tied = json.find("tie_word_embeddings");
  const bool said = tied != json.end() && tied->is_boolean() ? tied->get<bool>() : usual;
  if (said != config.tie_word_embeddings) json["tie_word_embeddings"] = config.tie_word_embeddings;
  return json.dump(2) + "\n";
}

void write_model_config(const std::string& folder, const ModelConfig& config, const std::string& text) {
  const std::filesystem::path at(folder);
  write_file((at / "config.json").string(), text);
  if (has_code(config)) write_file((at / cat(kModelingModule, ".py")).string(), modeling_source());
}

}  // namespace wt
