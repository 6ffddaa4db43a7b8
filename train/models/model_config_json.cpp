#include "train/models/model_config_json.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/json_object.h"
#include "train/config.h"
#include "train/models/memory_config.h"

namespace wt {
namespace {

// `where` is rope_scaling or rope_parameters. Older files write type for rope_type.
RopeScaling read_rope_scaling(const JsonObject& where, std::int64_t max_positions) {
  RopeScaling scaling;
  const std::string key = where.has("rope_type") ? "rope_type" : "type";
  where.must_be_one_of(key, {"default", "linear", "dynamic", "llama3"}, "default");
  scaling.type = where.text(key, "default");
  if (where.has("partial_rotary_factor") && where.real("partial_rotary_factor") != 1) {
    where.wrong("partial_rotary_factor", "1 (anything else is not supported)");
  }
  if (scaling.type == "default") return scaling;
  scaling.factor = where.positive("factor");
  if (scaling.type == "llama3") {
    scaling.low_freq_factor = where.positive("low_freq_factor");
    scaling.high_freq_factor = where.positive("high_freq_factor");
    scaling.original_max_positions = where.integer("original_max_position_embeddings", 1);
  }
  // The library goes by max_position_embeddings alone, wherever the original length is written.
  if (scaling.type == "dynamic") scaling.original_max_positions = max_positions;
  return scaling;
}

void read_rope(const JsonObject& top, ModelConfig& config) {
  config.rope_theta = top.positive("rope_theta", 10000.0);
  if (top.has("rope_scaling"))
    config.rope_scaling = read_rope_scaling(top.object("rope_scaling"), config.max_positions);
  if (!top.has("rope_parameters")) return;
  const JsonObject inside = top.object("rope_parameters");
  const double theta = inside.positive("rope_theta", config.rope_theta);
  if (top.has("rope_theta") && theta != config.rope_theta) {
    inside.fail("rope_theta", cat("is ", theta, ", but rope_theta at top level is ", config.rope_theta));
  }
  const RopeScaling scaling = read_rope_scaling(inside, config.max_positions);
  if (top.has("rope_scaling") && !(scaling == config.rope_scaling)) {
    top.fail("rope_parameters", "contradicts rope_scaling at top level");
  }
  config.rope_theta = theta;
  config.rope_scaling = scaling;
}

void read_llama(const JsonObject& top, ModelConfig& config) {
  config.hidden_size = top.integer("hidden_size", 1);
  config.intermediate_size = top.integer("intermediate_size", 1);
  config.num_layers = top.integer("num_hidden_layers", 1);
  config.num_heads = top.integer("num_attention_heads", 1);
  config.num_kv_heads = top.integer("num_key_value_heads", 1, config.num_heads);
  config.head_dim = top.integer("head_dim", 1, 0);
  config.rms_norm_eps = top.positive("rms_norm_eps", 1e-6);
  config.max_positions = top.integer("max_position_embeddings", 1, 2048);
  config.tie_word_embeddings = top.boolean("tie_word_embeddings", false);
  config.dropout = top.real("attention_dropout", 0);
  top.must_be_one_of("hidden_act", {"silu", "swish"}, "silu");
  config.attention_bias = top.boolean("attention_bias", false);
  config.mlp_bias = top.boolean("mlp_bias", false);
  top.must_be_absent("sliding_window");
  top.must_be("rope_interleaved", false);
  for (const char* key : {"pretraining_tp", "partial_rotary_factor"}) {
    if (top.real(key, 1) != 1) top.wrong(key, "1 (anything else is not supported)");
  }
  read_rope(top, config);
}

void read_gpt2(const JsonObject& top, ModelConfig& config) {
  config.hidden_size = top.integer("n_embd", 1);
  config.intermediate_size = top.integer("n_inner", 1, 0);
  config.num_layers = top.integer("n_layer", 1);
  config.num_heads = top.integer("n_head", 1);
  config.layer_norm_eps = top.positive("layer_norm_epsilon", 1e-5);
  config.max_positions = top.integer("n_positions", 1, 1024);
  config.tie_word_embeddings = top.boolean("tie_word_embeddings", true);
  config.dropout = top.real("resid_pdrop", 0.1);
  for (const char* key : {"embd_pdrop", "attn_pdrop"}) {
    if (top.real(key, 0.1) != config.dropout) {
      top.fail(key, cat("is ", top.real(key, 0.1), ", but resid_pdrop is ", config.dropout,
                        "; only one rate for all is supported"));
    }
  }
  // Two names of GELU's tanh form.
  top.must_be_one_of("activation_function", {"gelu_new", "gelu_pytorch_tanh"}, "gelu_new");
  top.must_be("scale_attn_weights", true);
  top.must_be("scale_attn_by_inverse_layer_idx", false);
  top.must_be("add_cross_attention", false);
}

SegmentAlignment read_alignment(const JsonObject& object) {
  object.must_be_one_of("segment_alignment", {"left", "right", "center"}, "left");
  const std::string alignment = object.text("segment_alignment", "left");
  for (const auto value : {SegmentAlignment::kRight, SegmentAlignment::kCenter}) {
    if (alignment == name_of(value)) return value;
  }
  return SegmentAlignment::kLeft;
}

void read_armt(const JsonObject& object, ArmtConfig& armt) {
  object.refuse_other_keys({"segment_size", "num_mem_tokens", "d_mem", "nu", "correction", "segment_alignment"});
  armt.segment_size = object.integer("segment_size", 1);
  armt.num_mem_tokens = object.integer("num_mem_tokens", 1);
  armt.d_mem = object.integer("d_mem", 1);
  armt.nu = object.integer("nu", 1, 3);
  armt.correction = object.boolean("correction", true);
  armt.segment_alignment = read_alignment(object);
}

void read_rmt(const JsonObject& object, RmtConfig& rmt) {
  object.refuse_other_keys({"segment_size", "num_mem_tokens", "segment_alignment"});
  rmt.segment_size = object.integer("segment_size", 1);
  rmt.num_mem_tokens = object.integer("num_mem_tokens", 1);
  rmt.segment_alignment = read_alignment(object);
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

// The name a key of ours has in these files.
std::string published_key(const std::string& key, BackboneType type) {
  struct Names {
    const char *ours, *llama, *gpt2;
  };
  constexpr Names kNames[] = {
      {"hidden_size", "hidden_size", "n_embd"},       {"intermediate_size", "intermediate_size", "n_inner"},
      {"num_layers", "num_hidden_layers", "n_layer"}, {"max_positions", "max_position_embeddings", "n_positions"},
      {"num_heads", "num_attention_heads", "n_head"}, {"num_kv_heads", "num_key_value_heads", "num_key_value_heads"}};
  for (const Names& names : kNames) {
    if (key == names.ours) return type == BackboneType::kLlama ? names.llama : names.gpt2;
  }
  return key;
}

std::string_view torch_name(DType dtype) {
  return dtype == DType::kF64 ? "float64" : dtype == DType::kBF16 ? "bfloat16" : "float32";
}

}  // namespace

ModelConfig parse_model_config(const std::string& text, const std::string& name) {
  const nlohmann::json json = parse_json(text, name);
  const JsonObject top(json, name);
  ModelConfig config;
  const std::string own = top.text("model_type");
  top.must_be_one_of("model_type", {"llama", "gpt2", "armt", "rmt"}, "");
  const bool has_code = own == "armt" || own == "rmt";
  if (has_code) top.must_be_one_of("backbone_type", {"llama", "gpt2"}, "");
  const std::string type = has_code ? top.text("backbone_type") : own;
  config.type = type == "llama" ? BackboneType::kLlama : BackboneType::kGPT2;
  config.vocab_size = top.integer("vocab_size", 1);
  config.init_std = top.positive("initializer_range", 0.02);
  const std::vector<std::int64_t> bos = top.tokens("bos_token_id");
  config.bos_id = bos.empty() ? -1 : bos.front();
  config.eos_ids = top.tokens("eos_token_id");
  top.must_be_absent("quantization_config");
  check_code(top, has_code);
  if (config.type == BackboneType::kLlama) {
    read_llama(top, config);
  } else {
    read_gpt2(top, config);
  }
  if (config.dropout < 0 || config.dropout >= 1) {
    top.fail(type == "llama" ? "attention_dropout" : "resid_pdrop",
             cat("is ", config.dropout, ", expected 0 to below 1"));
  }
  config.has_armt = top.has("armt");
  if (config.has_armt) read_armt(top.object("armt"), config.armt);
  config.has_rmt = top.has("rmt");
  if (config.has_rmt) read_rmt(top.object("rmt"), config.rmt);
  if (config.has_armt && config.has_rmt) top.fail("rmt", "is there beside armt: a model has one memory");
  if (has_code && !top.has(own)) top.wrong(own, cat("the object that model_type ", own, " needs"));
  config.window = top.integer("window", 0, 0);
  if (config.has_memory() && config.window > 0) top.fail("window", "is for a plain backbone, without armt or rmt");
  config.has_lora = top.has("lora");
  if (config.has_lora) read_lora(top.object("lora"), config.lora);
  check_model(config, [&](const std::string& key, const std::string& what) {
    top.fail(published_key(key, config.type), what);
  });
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
  const bool llama = c.type == BackboneType::kLlama;
  json["architectures"] = {llama ? "LlamaForCausalLM" : "GPT2LMHeadModel"};
  json["model_type"] = name_of(c.type);
  json["vocab_size"] = c.vocab_size;
  if (llama) {
    json["hidden_size"] = c.hidden_size;
    json["intermediate_size"] = c.mlp_width();
    json["num_hidden_layers"] = c.num_layers;
    json["num_attention_heads"] = c.num_heads;
    json["num_key_value_heads"] = c.kv_heads();
    json["head_dim"] = c.head_width();
    json["hidden_act"] = "silu";
    json["rms_norm_eps"] = c.rms_norm_eps;
    // Dynamic scaling goes by this number; with other rotary settings it is only recorded.
    const bool dynamic = c.rope_scaling.type == "dynamic";
    json["max_position_embeddings"] = dynamic ? c.rope_scaling.original_max_positions : c.max_positions;
    json["attention_bias"] = c.attention_bias;
    json["mlp_bias"] = c.mlp_bias;
    json["attention_dropout"] = c.dropout;
    json["rope_theta"] = c.rope_theta;
    json["rope_scaling"] = nullptr;
    if (c.rope_scaling.type != "default") {
      auto& rope = json["rope_scaling"] = {{"rope_type", c.rope_scaling.type}, {"factor", c.rope_scaling.factor}};
      if (c.rope_scaling.type == "llama3") {
        rope["low_freq_factor"] = c.rope_scaling.low_freq_factor;
        rope["high_freq_factor"] = c.rope_scaling.high_freq_factor;
        rope["original_max_position_embeddings"] = c.rope_scaling.original_max_positions;
      }
    }
  } else {
    json["n_embd"] = c.hidden_size;
    json["n_inner"] = c.intermediate_size > 0 ? nlohmann::ordered_json(c.intermediate_size) : nlohmann::ordered_json();
    json["n_layer"] = c.num_layers;
    json["n_head"] = c.num_heads;
    json["n_positions"] = c.max_positions;
    json["activation_function"] = "gelu_new";
    json["layer_norm_epsilon"] = c.layer_norm_eps;
    for (const char* key : {"resid_pdrop", "embd_pdrop", "attn_pdrop"}) json[key] = c.dropout;
  }
  json["tie_word_embeddings"] = c.tie_word_embeddings;
  json["initializer_range"] = c.init_std;
  json["bos_token_id"] = token(c.bos_id);
  // A number where there is one, as those libraries write it.
  json["eos_token_id"] =
      c.eos_ids.size() > 1 ? nlohmann::ordered_json(c.eos_ids) : token(c.eos_ids.empty() ? -1 : c.eos_ids.front());
  json["torch_dtype"] = torch_name(dtype);
  put_memory(json, c, ConfigForm::kOwn);
  if (c.window > 0) json["window"] = c.window;
  if (c.has_lora) {
    json["lora"] = {{"rank", c.lora.rank}, {"alpha", c.lora.alpha}, {"dropout", c.lora.dropout}};
    json["lora"]["targets"] = c.lora.targets;
  }
  return json.dump(2) + "\n";
}

}  // namespace wt
