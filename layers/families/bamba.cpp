// Bamba (IBM, Princeton, CMU, UIUC; huggingface.co/ibm-ai-platform/Bamba-9B): Mamba-2's mixer in most layers, attention
// over the whole text in a few, Llama's feed-forward half behind both.
//   h = x + mix(norm1(x)),   y = h + Wdown · swiglu(Wgate_up · norm2(h))
// Rotary positions turn the first half of each head.
#include <nlohmann/json.hpp>

#include "core/fields.h"
#include "core/json_object.h"
#include "layers/families/family.h"

namespace wt {
namespace {

constexpr double kPartialRotary = 0.5;  // of all published ones

// The two kinds of layers apart, and put together again: attention where it has layers.
struct Parts {
  Mamba2Config mamba;
  AttentionConfig attention;
  std::vector<std::int64_t> attention_layers;
  Parts() { attention.partial_rotary_factor = kPartialRotary; }
};

Parts parts_of(const ModelConfig& c) {
  Parts parts;
  for (const KindConfig& kind : c.kinds) {
    if (const auto* mamba = std::get_if<Mamba2Config>(&kind.mixer)) parts.mamba = *mamba;
    const auto* attention = std::get_if<AttentionConfig>(&kind.mixer);
    if (attention == nullptr || kind.layers.empty()) continue;
    parts.attention = *attention;
    parts.attention_layers = kind.layers;
  }
  return parts;
}

void put(ModelConfig& c, Parts parts) {
  const AttentionConfig usual;
  parts.mamba.name = "mamba.";
  parts.mamba.norm_eps = c.norm.eps;
  parts.attention.rotary = true;
  parts.attention.span = AttentionConfig::Span::kText;
  parts.attention.in = usual.in;
  parts.attention.out = usual.out;
  c.kinds = {{"mamba", std::move(parts.mamba), {}}};
  if (!parts.attention_layers.empty()) {
    c.kinds.push_back({"attention", std::move(parts.attention), std::move(parts.attention_layers)});
  }
}

void fix(ModelConfig& c) {
  fix_usual(c);
  put(c, parts_of(c));
  c.feed_forward.in = {"feed_forward.gate_proj", "feed_forward.up_proj"};
  c.feed_forward.out = "feed_forward.down_proj";
  c.names.feed_forward_norm = "pre_ff_layernorm";
  c.names.norm = "final_layernorm";
  c.shrink_outputs = true;
}

void describe(Fields& f, ModelConfig& c) {
  Parts parts = parts_of(c);
  describe_vocabulary(f, c);
  f.group("mamba", "The layers without attention", [&](Fields& g) { describe_scan(g, parts.mamba); });
  f.group("attention", "The layers with it", [&](Fields& g) {
    AttentionConfig& attention = parts.attention;
    g.integers("layers", parts.attention_layers, count_from(0), "Which they are, [] for none");
    g.integer("num_heads", attention.num_heads, count_from(0), "Query heads");
    g.integer("num_kv_heads", attention.num_kv_heads, count_from(0), "Key and value heads, 0 for num_heads");
    g.real("rope_theta", attention.rope_theta, above(0), "Base of the rotary frequencies");
    g.real("partial_rotary_factor", attention.partial_rotary_factor, {.min = 0, .max = 1, .min_open = true},
           "How much of a head rotary positions turn");
    g.boolean("attention_bias", attention.bias, "Biases on query, key, value and output");
  });
  describe_usual(f, c);
  describe_tokens(f, c);
  put(c, std::move(parts));
}

void check(const ModelConfig& c, const CheckFail& fail) {
  const Parts parts = parts_of(c);
  if (const std::int64_t inner = parts.mamba.shape(c.hidden_size).inner(); inner % c.hidden_size != 0) {
    fail("mamba.num_heads", cat("times head_dim is ", inner, ", expected a multiple of hidden_size ", c.hidden_size));
  }
  // The library's key for it is not read by all of its versions.
  if (parts.attention.head_dim != 0 && parts.attention.head_dim * parts.attention.num_heads != c.hidden_size) {
    fail("attention.head_dim", cat("is ", parts.attention.head_dim, ", but Bamba's is hidden_size / num_heads"));
  }
}

// How much of a head turns, wherever the file says it.
double read_partial_rotary(const JsonObject& top, std::int64_t head_width) {
  double factor = kPartialRotary;
  if (top.has("attn_rotary_emb")) {
    factor = static_cast<double>(top.integer("attn_rotary_emb", 1)) / static_cast<double>(head_width);
  }
  factor = top.positive("partial_rotary_factor", factor);
  if (top.has("rope_parameters")) factor = top.object("rope_parameters").positive("partial_rotary_factor", factor);
  return factor;
}

double read_theta(const JsonObject& top) {
  double theta = top.positive("rope_theta", 10000.0);
  if (!top.has("rope_parameters")) return theta;
  const JsonObject rope = top.object("rope_parameters");
  rope.must_be_one_of("rope_type", {"default"}, "default");
  return rope.positive("rope_theta", theta);
}

void read(const JsonObject& top, ModelConfig& c) {
  Parts parts;
  c.hidden_size = read_size(top, "hidden_size");
  c.feed_forward.intermediate_size = top.integer("intermediate_size", 1);
  c.num_layers = top.integer("num_hidden_layers", 1);
  c.norm.eps = top.positive("rms_norm_eps", 1e-5);
  c.max_positions = top.integer("max_position_embeddings", 1, 262144);
  c.tie_word_embeddings = top.boolean("tie_word_embeddings", false);
  c.dropout = top.real("attention_dropout", 0);
  c.feed_forward.bias = top.boolean("mlp_bias", false);
  top.must_be_one_of("hidden_act", {"silu", "swish"}, "silu");
  top.must_be_absent("rope_scaling");
  if (top.real("z_loss_coefficient", 0) != 0) {
    top.wrong("z_loss_coefficient",
              "0 (a loss on the logits' size is not supported in training; it changes no output)");
  }

  Mamba2Config& mamba = parts.mamba;
  mamba.num_heads = read_size(top, "mamba_n_heads", 128);
  const std::int64_t inner = read_size(top, "mamba_expand", 2) * c.hidden_size;
  // "auto" is what the two others leave.
  const bool given = top.has("mamba_d_head") && !top.is_text("mamba_d_head");
  if (!given && top.has("mamba_d_head")) top.must_be_one_of("mamba_d_head", {"auto"}, "auto");
  mamba.head_dim = given ? read_size(top, "mamba_d_head") : std::max<std::int64_t>(1, inner / mamba.num_heads);
  if (mamba.num_heads * mamba.head_dim != inner) {
    top.fail("mamba_n_heads", cat("times mamba_d_head is ", mamba.num_heads * mamba.head_dim,
                                  ", expected mamba_expand · hidden_size = ", inner));
  }
  mamba.state_size = top.integer("mamba_d_state", 1, 256);
  mamba.num_groups = top.integer("mamba_n_groups", 1, 1);
  mamba.conv_width = top.integer("mamba_d_conv", 1, 4);
  mamba.chunk_size = top.integer("mamba_chunk_size", 1, 256);
  mamba.conv_bias = top.boolean("mamba_conv_bias", true);
  mamba.bias = top.boolean("mamba_proj_bias", false);
  read_step_limits(top, "time_step_limit", mamba);

  AttentionConfig& attention = parts.attention;
  attention.num_heads = read_size(top, "num_attention_heads", 32);
  attention.num_kv_heads = top.integer("num_key_value_heads", 1, 8);
  attention.bias = top.boolean("attention_bias", false);
  attention.rope_theta = read_theta(top);
  attention.partial_rotary_factor =
      read_partial_rotary(top, std::max<std::int64_t>(1, c.hidden_size / attention.num_heads));
  if (top.has("attn_layer_indices")) parts.attention_layers = top.integers("attn_layer_indices", 0);
  put(c, std::move(parts));
}

void write(const ModelConfig& c, nlohmann::ordered_json& json) {
  const Parts parts = parts_of(c);
  const kernels::SsdShape shape = parts.mamba.shape(c.hidden_size);
  json["hidden_size"] = c.hidden_size;
  json["intermediate_size"] = c.mlp_width();
  json["num_hidden_layers"] = c.num_layers;
  json["rms_norm_eps"] = c.norm.eps;
  json["max_position_embeddings"] = c.max_positions;
  json["hidden_act"] = "silu";
  json["mlp_bias"] = c.feed_forward.bias;
  json["attention_dropout"] = c.dropout;
  json["attn_layer_indices"] = parts.attention_layers;
  const AttentionConfig& attention = parts.attention;
  if (!parts.attention_layers.empty()) {
    json["num_attention_heads"] = attention.num_heads;
    json["num_key_value_heads"] = attention.kv_heads();
    json["attention_bias"] = attention.bias;
    json["attn_rotary_emb"] = attention.rotary_width(c.hidden_size);
    json["partial_rotary_factor"] = attention.partial_rotary_factor;
    json["rope_theta"] = attention.rope_theta;
  }
  json["mamba_n_heads"] = shape.heads;
  json["mamba_d_head"] = shape.width;
  json["mamba_expand"] = shape.inner() / c.hidden_size;
  json["mamba_d_state"] = shape.state;
  json["mamba_n_groups"] = shape.groups;
  json["mamba_d_conv"] = parts.mamba.conv_width;
  json["mamba_chunk_size"] = parts.mamba.chunk_size;
  json["mamba_conv_bias"] = parts.mamba.conv_bias;
  json["mamba_proj_bias"] = parts.mamba.bias;
  write_step_limits(json, parts.mamba);
}

constexpr Family::Key kKeys[] = {{"num_layers", "num_hidden_layers"},
                                 {"max_positions", "max_position_embeddings"},
                                 {"dropout", "attention_dropout"},
                                 {"mamba.num_heads", "mamba_n_heads"},
                                 {"mamba.head_dim", "mamba_d_head"},
                                 {"mamba.state_size", "mamba_d_state"},
                                 {"mamba.num_groups", "mamba_n_groups"},
                                 {"mamba.conv_width", "mamba_d_conv"},
                                 {"mamba.most_step", "time_step_limit"},
                                 {"attention.num_heads", "num_attention_heads"},
                                 {"attention.num_kv_heads", "num_key_value_heads"},
                                 {"attention.partial_rotary_factor", "partial_rotary_factor"},
                                 {"attention.layers", "attn_layer_indices"}};

}  // namespace

extern constinit const Family kBamba{.name = "bamba",
                                     .architecture = "BambaForCausalLM",
                                     .fix = fix,
                                     .describe = describe,
                                     .check = check,
                                     .read = read,
                                     .write = write,
                                     .json_keys = kKeys,
                                     .kinds_by_name = true};

}  // namespace wt
