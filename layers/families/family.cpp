#include "layers/families/family.h"

#include "core/fields.h"

namespace wt {

// Each in a file of its own.
extern const Family kLlama, kGpt2, kHybrid;

const std::vector<Family>& families() {
  static const std::vector<Family> all{kLlama, kGpt2, kHybrid};
  return all;
}

const Family& family_of(std::string_view name) {
  std::string known;
  for (const Family& family : families()) {
    if (family.name == name) return family;
    known += cat(known.empty() ? "" : ", ", family.name);
  }
  throw Error(cat("model family '", name, "' is not known, expected one of ", known));
}

std::string Family::json_key(const std::string& key) const {
  for (const Key& known : json_keys) {
    if (known.ours == key) return std::string(known.theirs);
  }
  return key;
}

ModelConfig new_config(std::string_view family) {
  ModelConfig config;
  config.family = family;
  family_of(config).fix(config);
  return config;
}

void fix_usual(ModelConfig& c) {
  const ModelConfig usual;
  c.norm.kind = usual.norm.kind;
  c.feed_forward.kind = usual.feed_forward.kind;
  c.feed_forward.in = usual.feed_forward.in;
  c.feed_forward.out = usual.feed_forward.out;
  c.names = usual.names;
  c.layout = usual.layout;
  c.shrink_outputs = false;
}

AttentionConfig& only_attention(ModelConfig& c) {
  c.kinds.resize(1);
  KindConfig& kind = c.kinds[0];
  if (!std::holds_alternative<AttentionConfig>(kind.mixer)) kind.mixer.emplace<AttentionConfig>();
  kind.name.clear();
  kind.layers.clear();
  return std::get<AttentionConfig>(kind.mixer);
}

void describe_architecture(Fields& f, ModelConfig& c) {
  std::vector<std::pair<std::string, std::string>> names;
  for (const Family& family : families()) names.emplace_back(family.name, family.name);
  f.choice<std::string>("type", c.family, names, "Family of models: which keys there are, and what weights are called");
  const Family& family = family_of(c);
  family.fix(c);
  family.describe(f, c);
  family.fix(c);
}

void describe_vocabulary(Fields& f, ModelConfig& c) {
  f.integer("vocab_size", c.vocab_size, count_from(0), "Rows of the embedding table, 0 for the tokenizer's");
  f.integer("hidden_size", c.hidden_size, count_from(1), "Width of the hidden state", Presence::kRequired);
  f.integer("intermediate_size", c.feed_forward.intermediate_size, count_from(0),
            "Width of the feed-forward layer, 0 for 4 hidden_size");
  f.integer("num_layers", c.num_layers, from_to(1, 10000), "Blocks", Presence::kRequired);
}

void describe_tokens(Fields& f, ModelConfig& c) {
  f.boolean("tie_word_embeddings", c.tie_word_embeddings, "One matrix for embedding and head");
  f.real("init_std", c.init_std, above(0), "Deviation of fresh weights");
  f.real("embedding_std", c.embedding_std, at_least(0),
         "Deviation of fresh token and memory embeddings, 0 for init_std");
  f.integer("bos_id", c.bos_id, at_least(-1), "Begin-of-text token, -1 for none");
  f.integers("eos_id", c.eos_ids, at_least(-1), "End-of-text token, or a list of them; [] or -1 for the tokenizer's");
}

}  // namespace wt
