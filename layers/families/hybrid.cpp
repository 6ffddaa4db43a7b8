// A stack for experiments: layers of several kinds in any order, with Llama's norms, feed-forward layer and names. The
// memory of ARMT may be around all of them.
#include <nlohmann/json.hpp>

#include "core/fields.h"
#include "core/json_fields.h"
#include "layers/families/family.h"

namespace wt {
namespace {

void describe(Fields& f, ModelConfig& c) {
  describe_vocabulary(f, c);
  f.groups<KindConfig>("mixers", c.kinds, KindConfig{}, "The kinds of layers",
                       [](Fields& g, KindConfig& kind) { wt::describe(g, kind); });
  describe_usual(f, c);
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
    read_json_fields(object, [&](Fields& f) { wt::describe(f, c.kinds.emplace_back()); });
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
  for (KindConfig kind : c.kinds) {
    if (std::holds_alternative<CustomMixer>(kind.mixer)) {
      throw Error(cat("mixer ", kind.name, " is a program's own: config.json has no words for it"));
    }
    json["mixers"].push_back(write_json_fields([&](Fields& f) { wt::describe(f, kind); }));
  }
}

}  // namespace

extern constinit const Family kHybrid{.name = "hybrid",
                                      .architecture = "",
                                      .fix = fix_usual,
                                      .describe = describe,
                                      .check = check,
                                      .read = read,
                                      .write = write};

}  // namespace wt
