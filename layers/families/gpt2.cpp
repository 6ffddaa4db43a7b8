// GPT-2 (Radford et al., 2019): layer norms with biases before each half, GELU, a table of positions that is added to
// the embeddings; its matrices are stored (in, out):
//   h = x + Wproj · attention(Wqkv · ln1(x))
//   y = h + Wproj2 · gelu(Wfc · ln2(h))
#include <nlohmann/json.hpp>

#include "core/fields.h"
#include "core/json_object.h"
#include "layers/families/family.h"

namespace wt {
namespace {

void fix(ModelConfig& c) {
  AttentionConfig& attention = only_attention(c);
  attention.rotary = false;
  attention.span = AttentionConfig::Span::kSegment;
  attention.bias = true;
  attention.in = {"attn.c_attn"};
  attention.out = "attn.c_proj";
  c.norm.kind = NormConfig::Kind::kLayer;
  c.feed_forward.kind = FeedForwardConfig::Kind::kGelu;
  c.feed_forward.bias = true;
  c.feed_forward.in = {"mlp.c_fc"};
  c.feed_forward.out = "mlp.c_proj";
  c.names = {.base = "transformer.",
             .layer = "h.{l}.",
             .tokens = "wte",
             .positions = "wpe",
             .mixer_norm = "ln_1",
             .feed_forward_norm = "ln_2",
             .norm = "ln_f",
             .head = "lm_head"};
  c.layout = kernels::WeightLayout::kInOut;
  c.shrink_outputs = true;
}

void describe(Fields& f, ModelConfig& c) {
  AttentionConfig& attention = c.attention();
  describe_vocabulary(f, c);
  f.integer("num_heads", attention.num_heads, count_from(1), "Heads", Presence::kRequired);
  f.real("layer_norm_eps", c.norm.eps, above(0), "Added to the variance");
  f.integer("max_positions", c.max_positions, count_from(1), "Rows of the position table");
  describe_tokens(f, c);
  // Once all keys were all families': what says no more than what GPT-2 is goes on being read.
  double unused = 1e-5;
  f.retired([&](Fields& g) {
    g.integer("num_kv_heads", attention.num_kv_heads, count_from(0), "llama's");
    g.integer("head_dim", attention.head_dim, count_from(0), "llama's");
    g.real("rope_theta", attention.rope_theta, above(0), "llama's");
    g.group("rope_scaling", "llama's", [&](Fields& rope) { wt::describe(rope, attention.rope_scaling); });
    g.real("rms_norm_eps", unused, above(0), "llama's");
    g.boolean("attention_bias", attention.bias, "llama's");
    g.boolean("mlp_bias", c.feed_forward.bias, "llama's");
  });
}

void check(const ModelConfig& c, const CheckFail& fail) {
  const AttentionConfig& attention = c.attention();
  if (attention.num_kv_heads != 0 && attention.num_kv_heads != attention.num_heads) {
    fail("num_kv_heads",
         cat("is ", attention.num_kv_heads, ", but gpt2 has as many as num_heads ", attention.num_heads));
  }
  if (attention.head_dim != 0 && attention.head_dim * attention.num_heads != c.hidden_size) {
    fail("head_dim", cat("is ", attention.head_dim, ", but gpt2's is hidden_size / num_heads"));
  }
  if (attention.rope_scaling.type != "default") fail("rope_scaling.type", "gpt2 has no rotary positions");
}

void read(const JsonObject& top, ModelConfig& c) {
  c.hidden_size = top.integer("n_embd", 1);
  c.feed_forward.intermediate_size = top.integer("n_inner", 1, 0);
  c.num_layers = top.integer("n_layer", 1);
  c.attention().num_heads = top.integer("n_head", 1);
  c.norm.eps = top.positive("layer_norm_epsilon", 1e-5);
  c.max_positions = top.integer("n_positions", 1, 1024);
  c.tie_word_embeddings = top.boolean("tie_word_embeddings", true);
  c.dropout = top.real("resid_pdrop", 0.1);
  for (const char* key : {"embd_pdrop", "attn_pdrop"}) {
    if (top.real(key, 0.1) != c.dropout) {
      top.fail(key, cat("is ", top.real(key, 0.1), ", but resid_pdrop is ", c.dropout,
                        "; only one rate for all is supported"));
    }
  }
  // Two names of GELU's tanh form.
  top.must_be_one_of("activation_function", {"gelu_new", "gelu_pytorch_tanh"}, "gelu_new");
  top.must_be("scale_attn_weights", true);
  top.must_be("scale_attn_by_inverse_layer_idx", false);
  top.must_be("add_cross_attention", false);
}

void write(const ModelConfig& c, nlohmann::ordered_json& json) {
  const std::int64_t inner = c.feed_forward.intermediate_size;
  json["n_embd"] = c.hidden_size;
  json["n_inner"] = inner > 0 ? nlohmann::ordered_json(inner) : nlohmann::ordered_json();
  json["n_layer"] = c.num_layers;
  json["n_head"] = c.attention().num_heads;
  json["n_positions"] = c.max_positions;
  json["activation_function"] = "gelu_new";
  json["layer_norm_epsilon"] = c.norm.eps;
  for (const char* key : {"resid_pdrop", "embd_pdrop", "attn_pdrop"}) json[key] = c.dropout;
}

constexpr Family::Key kKeys[] = {{"hidden_size", "n_embd"}, {"intermediate_size", "n_inner"},
                                 {"num_layers", "n_layer"}, {"max_positions", "n_positions"},
                                 {"num_heads", "n_head"},   {"num_kv_heads", "num_key_value_heads"},
                                 {"dropout", "resid_pdrop"}};

}  // namespace

extern constinit const Family kGpt2{.name = "gpt2",
                                    .architecture = "GPT2LMHeadModel",
                                    .fix = fix,
                                    .describe = describe,
                                    .check = check,
                                    .read = read,
                                    .write = write,
                                    .json_keys = kKeys};

}  // namespace wt
