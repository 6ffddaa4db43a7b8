#include "train/models/model_config_json.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/json_fields.h"
#include "layers/families/family.h"
#include "train/models/memory_config.h"

namespace wt {
namespace {

template <class T>
void read_memory(const JsonObject& object, std::optional<T>& memory) {
  read_json_fields(object, [&](Fields& fields) { describe(fields, memory.emplace()); });
}

void read_lora(const JsonObject& object, LoraConfig& lora) {
  object.refuse_other_keys({"rank", "alpha", "dropout", "targets"});
  lora.rank = object.integer("rank", 1);
  lora.alpha = object.positive("alpha");
  lora.dropout = object.real("dropout", 0);
  if (lora.dropout < 0 || lora.dropout >= 1) object.wrong("dropout", "0 to below 1");
  lora.targets = object.texts("targets");
}

// A model that brings code of its own is not one of ours, except where the code is.
void check_code(const JsonObject& top, bool has_code) {
  if (!has_code || !top.has("auto_map")) return top.must_be_absent("auto_map");
  const JsonObject map = top.object("auto_map");
  for (const char* key : {"AutoConfig", "AutoModelForCausalLM"}) {
    if (!map.text(key, "").starts_with(cat(kModelingModule, "."))) map.wrong(key, cat("a class of ", kModelingModule));
  }
}

std::string_view torch_name(DType dtype) {
  return dtype == DType::kF64 ? "float64" : dtype == DType::kBF16 ? "bfloat16" : "float32";
}

}  // namespace

ModelConfig parse_model_config(const std::string& text, const std::string& name) {
  const nlohmann::json json = parse_json(text, name);
  const JsonObject top(json, name);
  std::vector<std::string> backbones;
  for (const Family& family : families()) backbones.emplace_back(family.name);
  std::vector<std::string> types = backbones;
  for (const char* memory : {"armt", "rmt"}) types.emplace_back(memory);
  // The reference code's (state-spaces/mamba) has none.
  const bool reference = !top.has("model_type") && top.has("d_model") && top.has("n_layer");
  const std::string own = reference ? "mamba2" : top.text("model_type");
  if (const std::string_view missing = what_is_missing(own); !missing.empty()) {
    top.fail("model_type", cat("is ", own, ", which is not supported: ", missing));
  }
  top.must_be_one_of("model_type", types, own.c_str());
  const bool has_code = own == "armt" || own == "rmt";
  if (has_code) top.must_be_one_of("backbone_type", backbones, "");
  const Family& family = family_of(has_code ? top.text("backbone_type") : own);
  ModelConfig config = new_config(family.name);
  config.vocab_size = top.integer("vocab_size", 1);
  config.init_std = top.positive("initializer_range", 0.02);
  const std::vector<std::int64_t> bos = top.tokens("bos_token_id");
  config.bos_id = bos.empty() ? -1 : bos.front();
  config.eos_ids = top.tokens("eos_token_id");
  top.must_be_absent("quantization_config");
  check_code(top, has_code);
  family.read(top, config);
  if (config.dropout < 0 || config.dropout >= 1) {
    top.fail(family.json_key("dropout"), cat("is ", config.dropout, ", expected 0 to below 1"));
  }
  if (top.has("armt")) read_memory(top.object("armt"), config.armt);
  if (top.has("rmt")) read_memory(top.object("rmt"), config.rmt);
  if (config.armt && config.rmt) top.fail("rmt", "is there beside armt: a model has one memory");
  if (has_code && !top.has(own)) top.wrong(own, cat("the object that model_type ", own, " needs"));
  config.window = top.integer("window", 0, 0);
  config.own_segment_size = top.integer("segment_size", 0, 0);
  family.fix(config);
  if (config.has_memory() && config.window > 0) top.fail("window", "is for a plain backbone, without armt or rmt");
  if (top.has("lora")) read_lora(top.object("lora"), config.lora.emplace());
  check_model(config, [&](const std::string& key, const std::string& what) { top.fail(family.json_key(key), what); });
  return config;
}

ModelConfig read_model_config(const std::string& path) {
  const std::string file =
      std::filesystem::is_directory(path) ? (std::filesystem::path(path) / "config.json").string() : path;
  return parse_model_config(read_file(file), file);
}

std::vector<std::int64_t> read_token_ids(const std::string& path, const std::string& key) {
  const nlohmann::json json = parse_json(read_file(path), path);
  return JsonObject(json, path).tokens(key);
}

std::string format_model_config(const ModelConfig& c, DType dtype) {
  nlohmann::ordered_json json;
  const auto token = [](std::int64_t id) { return id < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(id); };
  const Family& family = family_of(c);
  if (!family.architecture.empty()) json["architectures"] = {family.architecture};
  json["model_type"] = family.name;
  json["vocab_size"] = c.vocab_size;
  family.write(c, json);
  json["tie_word_embeddings"] = c.tie_word_embeddings;
  json["initializer_range"] = c.init_std;
  json["bos_token_id"] = token(c.bos_id);
  // A number where there is one, as those libraries write it.
  json["eos_token_id"] =
      c.eos_ids.size() > 1 ? nlohmann::ordered_json(c.eos_ids) : token(c.eos_ids.empty() ? -1 : c.eos_ids.front());
  json["torch_dtype"] = torch_name(dtype);
  put_memory(json, c, ConfigForm::kOwn);
  if (c.window > 0) json["window"] = c.window;
  if (c.own_segment_size > 0) json["segment_size"] = c.own_segment_size;
  if (c.lora) {
    json["lora"] = {{"rank", c.lora->rank}, {"alpha", c.lora->alpha}, {"dropout", c.lora->dropout}};
    json["lora"]["targets"] = c.lora->targets;
  }
  return json.dump(2) + "\n";
}

}  // namespace wt
