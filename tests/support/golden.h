// A golden file of tests/fixtures as a model of ours, its inputs and its expected numbers.
#pragma once

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "layers/families/family.h"
#include "schedulers/language_model.h"
#include "train/models/model_config_json.h"

namespace wt {

// ‖a - b‖ / ‖b‖; ‖a‖ where b is zero.
inline double relative_error(const Tensor& a, const std::vector<double>& b) {
  const std::vector<double> values = a.to(Stream{}, DType::kF64).to_vector<double>();
  WT_CHECK(values.size() == b.size(), "comparing ", values.size(), " values with ", b.size());
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += (values[i] - b[i]) * (values[i] - b[i]);
    norm += b[i] * b[i];
  }
  return norm == 0 ? std::sqrt(difference) : std::sqrt(difference / norm);
}

// The fields that these files use; train/models/model_config_json.h reads real config.json files.
inline ModelConfig config_of(const nlohmann::json& j, const nlohmann::json& armt) {
  const bool gpt2 = j.at("model_type") == "gpt2";
  ModelConfig c = new_config(gpt2 ? "gpt2" : "llama");
  c.vocab_size = j.at("vocab_size");
  c.hidden_size = j.at(gpt2 ? "n_embd" : "hidden_size");
  c.num_layers = j.at(gpt2 ? "n_layer" : "num_hidden_layers");
  c.attention().num_heads = j.at(gpt2 ? "n_head" : "num_attention_heads");
  c.tie_word_embeddings = j.at("tie_word_embeddings");
  if (gpt2) {
    c.max_positions = j.at("n_positions");
    c.norm.eps = j.at("layer_norm_epsilon");
  } else {
    c.feed_forward.intermediate_size = j.at("intermediate_size");
    c.attention().num_kv_heads = j.at("num_key_value_heads");
    c.attention().head_dim = j.at("head_dim");
    c.norm.eps = j.at("rms_norm_eps");
    c.attention().rope_theta = j.at("rope_parameters").at("rope_theta");
  }
  c.armt.emplace();
  c.armt->segment_size = armt.at("segment_size");
  c.armt->num_mem_tokens = armt.at("num_mem_tokens");
  c.armt->d_mem = armt.at("d_mem");
  c.armt->nu = armt.at("nu");
  c.armt->correction = armt.at("correction");
  return c;
}

struct GoldenModel {
  SafetensorsFile file;
  nlohmann::json meta;
  std::unique_ptr<Model> model;

  // `segment_size`: for models without a memory, 0 for what they have by themselves.
  GoldenModel(const std::string& name, DType dtype, const Stream& stream = {}, std::int64_t segment_size = 0)
      : file(SafetensorsFile::open(std::string(WAVETAPE_SOURCE_DIR) + "/tests/fixtures/" + name + ".safetensors")),
        meta(nlohmann::json::parse(file.metadata().at("meta"))) {
    ModelConfig config;
    if (meta.contains("armt")) {
      config = config_of(meta.at("config"), meta.at("armt"));
    } else {
      config = parse_model_config(meta.at("config").dump(), name);
      set_segment_size(config, segment_size);
    }
    model = std::make_unique<Model>(config, dtype, stream);
    for (const PublishedTensor& tensor : model->parameters().published()) {
      tensor.write(stream, file.tensor("param." + tensor.name));
    }
  }

  TokenBatch batch(const std::string& key) const {
    TokenBatch batch;
    const Tensor ids = file.tensor(key + "input_ids"), mask = file.tensor(key + "labels_mask");
    batch.batch = static_cast<int>(ids.dim(0));
    for (std::int64_t b = 0; b < ids.dim(0); ++b) {
      const auto row = ids.select(b).to_vector<std::int64_t>();
      batch.add({row.begin(), row.end()}, mask.select(b).to_vector<std::uint8_t>());
    }
    return batch;
  }

  std::vector<double> expected(const std::string& name) const {
    return file.tensor(name).to(Stream{}, DType::kF64).to_vector<double>();
  }

  // The file knows gradients under either name of a wrapped layer.
  std::optional<std::vector<double>> gradient(const std::string& key, const std::string& name) const {
    if (file.contains(key + "grad." + name)) return expected(key + "grad." + name);
    return std::nullopt;
  }
};

}  // namespace wt
