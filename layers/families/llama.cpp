// Llama's decoder (Touvron et al., arXiv 2302.13971; grouped-query attention as in Llama 2 and 3):
//   h = x + Wo · attention(rotary(Wqkv · norm1(x)))
//   y = h + Wdown · swiglu(Wgate_up · norm2(h))
#include <nlohmann/json.hpp>

#include "core/fields.h"
#include "core/json_object.h"
#include "layers/families/family.h"

namespace wt {
namespace {

void fix(ModelConfig& c) {
  const ModelConfig usual;
  AttentionConfig& attention = only_attention(c);
  attention.rotary = true;
  attention.in = usual.attention().in;
  attention.out = usual.attention().out;
  // Read by segments without a memory it is still the same model.
  attention.span =
      c.own_segment_size > 0 && !c.has_memory() ? AttentionConfig::Span::kText : AttentionConfig::Span::kSegment;
  attention.partial_rotary_factor = 1;
  fix_usual(c);
}

void describe(Fields& f, ModelConfig& c) {
  describe_vocabulary(f, c);
  describe_heads(f, c.attention());
  describe_usual(f, c);
  describe_tokens(f, c);
  double unused = 1e-5;
  f.retired([&](Fields& g) { g.real("layer_norm_eps", unused, above(0), "gpt2's"); });
}

void check(const ModelConfig& /*config*/, const CheckFail& /*fail*/) {}

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

void read_rope(const JsonObject& top, std::int64_t max_positions, AttentionConfig& attention) {
  attention.rope_theta = top.positive("rope_theta", 10000.0);
  if (top.has("rope_scaling")) {
    attention.rope_scaling = read_rope_scaling(top.object("rope_scaling"), max_positions);
  }
  if (!top.has("rope_parameters")) return;
  const JsonObject inside = top.object("rope_parameters");
  const double theta = inside.positive("rope_theta", attention.rope_theta);
  if (top.has("rope_theta") && theta != attention.rope_theta) {
    inside.fail("rope_theta", cat("is ", theta, ", but rope_theta at top level is ", attention.rope_theta));
  }
  const RopeScaling scaling = read_rope_scaling(inside, max_positions);
  if (top.has("rope_scaling") && !(scaling == attention.rope_scaling)) {
    top.fail("rope_parameters", "contradicts rope_scaling at top level");
  }
  attention.rope_theta = theta;
  attention.rope_scaling = scaling;
}

void read(const JsonObject& top, ModelConfig& c) {
  AttentionConfig& attention = c.attention();
  c.hidden_size = top.integer("hidden_size", 1);
  c.feed_forward.intermediate_size = top.integer("intermediate_size", 1);
  c.num_layers = top.integer("num_hidden_layers", 1);
  attention.num_heads = top.integer("num_attention_heads", 1);
  attention.num_kv_heads = top.integer("num_key_value_heads", 1, attention.num_heads);
  attention.head_dim = top.integer("head_dim", 1, 0);
  c.norm.eps = top.positive("rms_norm_eps", 1e-6);
  c.max_positions = top.integer("max_position_embeddings", 1, 2048);
  c.tie_word_embeddings = top.boolean("tie_word_embeddings", false);
  c.dropout = top.real("attention_dropout", 0);
  top.must_be_one_of("hidden_act", {"silu", "swish"}, "silu");
  attention.bias = top.boolean("attention_bias", false);
  c.feed_forward.bias = top.boolean("mlp_bias", false);
  top.must_be_absent("sliding_window");
  top.must_be("rope_interleaved", false);
  for (const char* key : {"pretraining_tp", "partial_rotary_factor"}) {
    if (top.real(key, 1) != 1) top.wrong(key, "1 (anything else is not supported)");
  }
  read_rope(top, c.max_positions, attention);
}

void write(const ModelConfig& c, nlohmann::ordered_json& json) {
  const AttentionConfig& attention = c.attention();
  const RopeScaling& scaling = attention.rope_scaling;
  json["hidden_size"] = c.hidden_size;
  json["intermediate_size"] = c.mlp_width();
  json["num_hidden_layers"] = c.num_layers;
  json["num_attention_heads"] = attention.num_heads;
  json["num_key_value_heads"] = attention.kv_heads();
  json["head_dim"] = attention.head_width(c.hidden_size);
  json["hidden_act"] = "silu";
  json["rms_norm_eps"] = c.norm.eps;
  const bool dynamic = scaling.type == "dynamic";  // which has the original length there
  json["max_position_embeddings"] = dynamic ? scaling.original_max_positions : c.max_positions;
  json["attention_bias"] = attention.bias;
  json["mlp_bias"] = c.feed_forward.bias;
  json["attention_dropout"] = c.dropout;
  json["rope_theta"] = attention.rope_theta;
  json["rope_scaling"] = nullptr;
  if (scaling.type == "default") return;
  auto& rope = json["rope_scaling"] = {{"rope_type", scaling.type}, {"factor", scaling.factor}};
  if (scaling.type != "llama3") return;
  rope["low_freq_factor"] = scaling.low_freq_factor;
  rope["high_freq_factor"] = scaling.high_freq_factor;
  rope["original_max_position_embeddings"] = scaling.original_max_positions;
}

constexpr Family::Key kKeys[] = {{"num_layers", "num_hidden_layers"},
                                 {"max_positions", "max_position_embeddings"},
                                 {"num_heads", "num_attention_heads"},
                                 {"num_kv_heads", "num_key_value_heads"},
                                 {"dropout", "attention_dropout"}};

}  // namespace

extern constinit const Family kLlama{.name = "llama",
                                     .architecture = "LlamaForCausalLM",
                                     .fix = fix,
                                     .describe = describe,
                                     .check = check,
                                     .read = read,
                                     .write = write,
                                     .json_keys = kKeys};

}  // namespace wt
