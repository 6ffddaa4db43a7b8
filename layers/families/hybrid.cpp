// A stack for experiments: layers of several kinds in any order, with Llama's norms, feed-forward layer and names. The
// memory of ARMT may be around all of them.
#include <nlohmann/json.hpp>

#include "core/fields.h"
#include "core/json_object.h"
#include "layers/families/family.h"

namespace wt {
namespace {

void fix(ModelConfig& c) {
  const ModelConfig usual;
  c.norm.kind = usual.norm.kind;
  c.feed_forward.kind = usual.feed_forward.kind;
  c.feed_forward.in = usual.feed_forward.in;
  c.feed_forward.out = usual.feed_forward.out;
  c.names = usual.names;
  c.layout = usual.layout;
  c.shrink_outputs = false;
}

void describe_kind(Fields& f, KindConfig& c) {
  f.text("name", c.name, "What it is called in keys and messages", Presence::kRequired);
  std::string kind = "attention";
  f.choice<std::string>("kind", kind, {{"attention", "attention"}}, "What mixes the rows of these layers");
  f.integers("layers", c.layers, count_from(0), "Layers that have it, [] for all that no other mixer has");
  if (auto* attention = std::get_if<AttentionConfig>(&c.mixer)) wt::describe(f, *attention);
}

void describe(Fields& f, ModelConfig& c) {
  describe_vocabulary(f, c);
  f.groups<KindConfig>("mixers", c.kinds, KindConfig{}, "The kinds of layers", describe_kind);
  f.boolean("mlp_bias", c.feed_forward.bias, "Biases in the feed-forward layer");
  f.real("rms_norm_eps", c.norm.eps, above(0), "Added to the mean square");
  f.integer("max_positions", c.max_positions, count_from(1),
            "Tokens it was made for: recorded, and what a plain backbone's data count as a segment");
  describe_tokens(f, c);
}

void check(const ModelConfig& c, const CheckFail& fail) {
  for (std::size_t k = 0; k < c.kinds.size(); ++k) {
    for (std::size_t other = 0; other < k; ++other) {
      if (c.kinds[k].name == c.kinds[other].name) {
        fail(cat("mixers.", k, ".name"), cat("is '", c.kinds[k].name, "', which mixer ", other, " is called as well"));
      }
    }
  }
}

void read(const JsonObject& top, ModelConfig& c) {
  c.hidden_size = top.integer("hidden_size", 1);
  c.feed_forward.intermediate_size = top.integer("intermediate_size", 1);
  c.num_layers = top.integer("num_hidden_layers", 1);
  c.norm.eps = top.positive("rms_norm_eps", 1e-6);
  c.max_positions = top.integer("max_position_embeddings", 1, 2048);
  c.tie_word_embeddings = top.boolean("tie_word_embeddings", false);
  c.dropout = top.real("dropout", 0);
  c.feed_forward.bias = top.boolean("mlp_bias", false);
  c.kinds.clear();
  for (const JsonObject& object : top.objects("mixers")) {
    KindConfig kind;
    AttentionConfig attention;
    object.must_be_one_of("kind", {"attention"}, "");
    object.refuse_other_keys({"name", "kind", "layers", "num_heads", "num_kv_heads", "head_dim", "attention_bias",
                              "rope_theta", "rope_scaling"});
    kind.name = object.text("name");
    kind.layers = object.integers("layers", 0);
    attention.num_heads = object.integer("num_heads", 1);
    attention.num_kv_heads = object.integer("num_kv_heads", 0, 0);
    attention.head_dim = object.integer("head_dim", 0, 0);
    attention.bias = object.boolean("attention_bias", false);
    attention.rope_theta = object.positive("rope_theta", 10000.0);
    if (object.has("rope_scaling")) {
      const JsonObject rope = object.object("rope_scaling");
      rope.refuse_other_keys({"type", "factor", "low_freq_factor", "high_freq_factor", "original_max_positions"});
      RopeScaling& scaling = attention.rope_scaling;
      rope.must_be_one_of("type", {"default", "linear", "dynamic", "llama3"}, "default");
      scaling.type = rope.text("type", "default");
      scaling.factor = rope.positive("factor", 1.0);
      scaling.low_freq_factor = rope.positive("low_freq_factor", 1.0);
      scaling.high_freq_factor = rope.positive("high_freq_factor", 4.0);
      scaling.original_max_positions = rope.integer("original_max_positions", 1, 8192);
    }
    kind.mixer = attention;
    c.kinds.push_back(std::move(kind));
  }
}

void write(const ModelConfig& c, nlohmann::ordered_json& json) {
  json["hidden_size"] = c.hidden_size;
  json["intermediate_size"] = c.mlp_width();
  json["num_hidden_layers"] = c.num_layers;
  json["rms_norm_eps"] = c.norm.eps;
  json["max_position_embeddings"] = c.max_positions;
  json["dropout"] = c.dropout;
  json["mlp_bias"] = c.feed_forward.bias;
  for (const KindConfig& kind : c.kinds) {
    const auto* attention = std::get_if<AttentionConfig>(&kind.mixer);
    if (attention == nullptr) {
      throw Error(cat("mixer ", kind.name, " is a program's own: config.json has no words for it"));
    }
    const RopeScaling& scaling = attention->rope_scaling;
    json["mixers"].push_back({{"name", kind.name},
                              {"kind", "attention"},
                              {"layers", kind.layers},
                              {"num_heads", attention->num_heads},
                              {"num_kv_heads", attention->num_kv_heads},
                              {"head_dim", attention->head_dim},
                              {"attention_bias", attention->bias},
                              {"rope_theta", attention->rope_theta},
                              {"rope_scaling",
                               {{"type", scaling.type},
                                {"factor", scaling.factor},
                                {"low_freq_factor", scaling.low_freq_factor},
                                {"high_freq_factor", scaling.high_freq_factor},
                                {"original_max_positions", scaling.original_max_positions}}}});
  }
}

}  // namespace

constinit const Family kHybrid{.name = "hybrid",
                               .architecture = "",
                               .fix = fix,
                               .describe = describe,
                               .check = check,
                               .read = read,
                               .write = write,
                               .json_keys = {}};

}  // namespace wt
