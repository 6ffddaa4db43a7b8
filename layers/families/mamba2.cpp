// Mamba-2's language model (Dao and Gu, arXiv 2405.21060): layers that are a mixer alone, no positions.
//   y = x + mamba2(norm(x))
// Its config.json comes in two forms, Hugging Face's and the reference code's (state-spaces/mamba).
#include <nlohmann/json.hpp>

#include "core/fields.h"
#include "core/json_object.h"
#include "layers/families/family.h"

namespace wt {
namespace {

Mamba2Config& mixer_of(ModelConfig& c) {
  return std::get<Mamba2Config>(c.kinds.front().mixer);
}

void fix(ModelConfig& c) {
  fix_usual(c);
  c.kinds.resize(1);
  KindConfig& kind = c.kinds.front();
  if (!std::holds_alternative<Mamba2Config>(kind.mixer)) kind.mixer.emplace<Mamba2Config>();
  kind.name.clear();
  kind.layers.clear();
  mixer_of(c).name = "mixer.";
  mixer_of(c).norm_eps = c.norm.eps;
  c.feed_forward = {.kind = FeedForwardConfig::Kind::kNone};
  c.names = {.base = "backbone.",
             .layer = "layers.{l}.",
             .tokens = "embeddings",
             .positions = "",
             .mixer_norm = "norm",
             .feed_forward_norm = "",
             .norm = "norm_f",
             .head = "lm_head"};
}

void describe(Fields& f, ModelConfig& c) {
  describe_vocabulary(f, c);
  describe_scan(f, mixer_of(c));
  f.real("rms_norm_eps", c.norm.eps, above(0), "Added to the mean square");
  f.integer("max_positions", c.max_positions, count_from(1), "Tokens it was made for: recorded");
  describe_tokens(f, c);
}

void check(const ModelConfig& c, const CheckFail& fail) {
  const auto& mixer = std::get<Mamba2Config>(c.kinds.front().mixer);
  if (const std::int64_t inner = mixer.shape(c.hidden_size).inner(); inner % c.hidden_size != 0) {
    fail("num_heads", cat("times head_dim is ", inner, ", expected a multiple of hidden_size ", c.hidden_size));
  }
}

void read_reference(const JsonObject& top, ModelConfig& c) {
  Mamba2Config& mixer = mixer_of(c);
  c.hidden_size = read_size(top, "d_model");
  c.num_layers = top.integer("n_layer", 1);
  const std::int64_t multiple = read_size(top, "pad_vocab_size_multiple", 8);
  c.vocab_size = (read_size(top, "vocab_size") + multiple - 1) / multiple * multiple;
  c.tie_word_embeddings = top.boolean("tie_embeddings", true);
  c.norm.eps = 1e-5;
  if (top.integer("d_intermediate", 0, 0) != 0)
    top.wrong("d_intermediate", "0 (layers with a feed-forward half are not supported)");
  if (top.has("attn_layer_idx") && !top.integers("attn_layer_idx", 0).empty()) {
    top.wrong("attn_layer_idx", "[] (attention with a convolution on queries, keys and values is not supported)");
  }
  top.must_be("rms_norm", true);
  const JsonObject scan = top.object("ssm_cfg");
  scan.must_be_one_of("layer", {"Mamba2"}, "Mamba1");
  const std::int64_t expand = read_size(scan, "expand", 2);
  mixer.head_dim = read_size(scan, "headdim", 64);
  mixer.state_size = scan.integer("d_state", 1, 128);
  mixer.num_groups = scan.integer("ngroups", 1, 1);
  mixer.conv_width = scan.integer("d_conv", 1, 4);
  mixer.chunk_size = scan.integer("chunk_size", 1, 256);
  mixer.conv_bias = scan.boolean("conv_bias", true);
  mixer.bias = scan.boolean("bias", false);
  mixer.norm_first = scan.boolean("norm_before_gate", false);
  scan.must_be("rmsnorm", true);
  scan.must_be("D_has_hdim", false);
  scan.must_be_absent("d_ssm");
  if (expand * c.hidden_size % mixer.head_dim != 0) {
    scan.fail("headdim", cat("is ", mixer.head_dim, ", not a divisor of expand · d_model = ", expand * c.hidden_size));
  }
  mixer.num_heads = expand * c.hidden_size / mixer.head_dim;
  read_step_limits(scan, "dt_limit", mixer);
}

void read(const JsonObject& top, ModelConfig& c) {
  if (top.has("d_model")) return read_reference(top, c);
  Mamba2Config& mixer = mixer_of(c);
  c.hidden_size = read_size(top, "hidden_size");
  c.num_layers = top.integer("num_hidden_layers", 1);
  c.norm.eps = top.positive("layer_norm_epsilon", 1e-5);
  c.max_positions = top.integer("max_position_embeddings", 1, 2048);
  c.tie_word_embeddings = top.boolean("tie_word_embeddings", false);
  c.dropout = top.real("dropout", 0);
  mixer.num_heads = read_size(top, "num_heads", 128);
  mixer.head_dim = read_size(top, "head_dim", 64);
  mixer.state_size = top.integer("state_size", 1, 128);
  mixer.num_groups = top.integer("n_groups", 1, 8);
  mixer.conv_width = top.integer("conv_kernel", 1, 4);
  mixer.chunk_size = top.integer("chunk_size", 1, 256);
  mixer.conv_bias = top.boolean("use_conv_bias", true);
  mixer.bias = top.boolean("use_bias", false);
  mixer.norm_first = top.boolean("norm_before_gate", false);
  const double expand = top.positive("expand", 2);
  if (const std::int64_t inner = mixer.num_heads * mixer.head_dim;
      static_cast<double>(inner) != expand * static_cast<double>(c.hidden_size)) {
    top.fail("num_heads", cat("times head_dim is ", inner,
                              ", expected expand · hidden_size = ", expand * static_cast<double>(c.hidden_size)));
  }
  top.must_be_one_of("hidden_act", {"silu", "swish"}, "silu");
  top.must_be("rms_norm", true);
  read_step_limits(top, "time_step_limit", mixer);
}

void write(const ModelConfig& c, nlohmann::ordered_json& json) {
  const auto& mixer = std::get<Mamba2Config>(c.kinds.front().mixer);
  const kernels::SsdShape shape = mixer.shape(c.hidden_size);
  json["hidden_size"] = c.hidden_size;
  json["num_hidden_layers"] = c.num_layers;
  json["layer_norm_epsilon"] = c.norm.eps;
  json["max_position_embeddings"] = c.max_positions;
  json["num_heads"] = shape.heads;
  json["head_dim"] = shape.width;
  json["expand"] = shape.inner() / c.hidden_size;
  json["state_size"] = shape.state;
  json["n_groups"] = shape.groups;
  json["conv_kernel"] = mixer.conv_width;
  json["chunk_size"] = mixer.chunk_size;
  json["use_conv_bias"] = mixer.conv_bias;
  json["use_bias"] = mixer.bias;
  json["hidden_act"] = "silu";
  json["rms_norm"] = true;
  json["residual_in_fp32"] = true;
  if (mixer.norm_first) json["norm_before_gate"] = true;
  if (c.dropout > 0) json["dropout"] = c.dropout;
  write_step_limits(json, mixer);
}

constexpr Family::Key kKeys[] = {{"num_layers", "num_hidden_layers"}, {"max_positions", "max_position_embeddings"},
                                 {"num_groups", "n_groups"},          {"conv_width", "conv_kernel"},
                                 {"most_step", "time_step_limit"},    {"rms_norm_eps", "layer_norm_epsilon"}};
constexpr Family::Key kTensors[] = {{"backbone.embeddings.", "backbone.embedding."}};

}  // namespace

extern constinit const Family kMamba2{.name = "mamba2",
                                      .architecture = "Mamba2ForCausalLM",
                                      .fix = fix,
                                      .describe = describe,
                                      .check = check,
                                      .read = read,
                                      .write = write,
                                      .json_keys = kKeys,
                                      .tensor_names = kTensors};

}  // namespace wt
