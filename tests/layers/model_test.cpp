// The models as collections of parameters: published names, shapes, fresh values, decay; and what a fresh memory does.
#include "layers/model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "layers/families/family.h"
#include "layers/rotary_table.h"
#include "schedulers/executor.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

ModelConfig llama_config() {
  ModelConfig c;
  c.vocab_size = 50;
  c.hidden_size = 16;
  c.feed_forward.intermediate_size = 24;
  c.num_layers = 2;
  c.attention().num_heads = 4;
  c.attention().num_kv_heads = 2;
  c.tie_word_embeddings = false;
  c.armt.emplace();
  c.armt->segment_size = 6;
  c.armt->num_mem_tokens = 3;
  c.armt->d_mem = 5;
  return c;
}

ModelConfig gpt2_config() {
  ModelConfig c = llama_config();
  c.family = "gpt2";
  family_of(c).fix(c);
  c.feed_forward.intermediate_size = 0;
  c.attention().num_kv_heads = 0;
  c.max_positions = 12;
  c.tie_word_embeddings = true;
  return c;
}

// "name shape" of every published tensor.
std::set<std::string> published(const Model& model) {
  std::set<std::string> all;
  for (const PublishedTensor& tensor : model.parameters().published())
    all.insert(tensor.name + " " + tensor.value.shape().str());
  EXPECT_EQ(all.size(), model.parameters().published().size());
  return all;
}

std::set<std::string> with_layers(std::set<std::string> once, const std::string& prefix,
                                  const std::vector<std::string>& each) {
  for (const char* layer : {"0.", "1."}) {
    for (const std::string& name : each) once.insert(prefix + layer + name);
  }
  return once;
}

const std::vector<std::string> kMemoryParameters{"W_mq.weight [5,16]", "W_mk.weight [5,16]", "W_mv.weight [16,16]",
                                                 "W_mb.weight [1,16]", "W_mb.bias [1]"};

std::vector<std::string> llama_layer(const std::string& prefix) {
  return {prefix + "input_layernorm.weight [16]",     prefix + "self_attn.q_proj.weight [16,16]",
          prefix + "self_attn.k_proj.weight [8,16]",  prefix + "self_attn.v_proj.weight [8,16]",
          prefix + "self_attn.o_proj.weight [16,16]", prefix + "post_attention_layernorm.weight [16]",
          prefix + "mlp.gate_proj.weight [24,16]",    prefix + "mlp.up_proj.weight [24,16]",
          prefix + "mlp.down_proj.weight [16,24]"};
}

std::vector<std::string> gpt2_layer(const std::string& prefix) {
  return {prefix + "ln_1.weight [16]",           prefix + "ln_1.bias [16]",
          prefix + "ln_2.weight [16]",           prefix + "ln_2.bias [16]",
          prefix + "attn.c_attn.weight [16,48]", prefix + "attn.c_attn.bias [48]",
          prefix + "attn.c_proj.weight [16,16]", prefix + "attn.c_proj.bias [16]",
          prefix + "mlp.c_fc.weight [16,64]",    prefix + "mlp.c_fc.bias [64]",
          prefix + "mlp.c_proj.weight [64,16]",  prefix + "mlp.c_proj.bias [16]"};
}

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(Names, LlamaWithMemory) {
  const Model model(llama_config(), DType::kF32);
  EXPECT_EQ(published(model),
            with_layers({"memory_cell.memory [3,16]", "memory_cell.model.model.embed_tokens.weight [50,16]",
                         "memory_cell.model.model.norm.weight [16]", "memory_cell.model.lm_head.weight [50,16]"},
                        "memory_cell.model.model.layers.", kMemoryParameters + llama_layer("layer.")));
}

TEST(Names, LlamaWithBiases) {
  ModelConfig config = llama_config();
  config.armt.reset();
  const std::set<std::string> without = published(Model(config, DType::kF32));
  const auto added = [&](bool attention, bool mlp) {
    config.attention().bias = attention;
    config.feed_forward.bias = mlp;
    std::set<std::string> rest;
    for (const std::string& name : published(Model(config, DType::kF32, {}, WeightUse::kInference))) {
      if (without.count(name) == 0) rest.insert(name);
    }
    return rest;
  };
  EXPECT_EQ(added(true, false), with_layers({}, "model.layers.",
                                            {"self_attn.q_proj.bias [16]", "self_attn.k_proj.bias [8]",
                                             "self_attn.v_proj.bias [8]", "self_attn.o_proj.bias [16]"}));
  EXPECT_EQ(added(false, true),
            with_layers({}, "model.layers.",
                        {"mlp.gate_proj.bias [24]", "mlp.up_proj.bias [24]", "mlp.down_proj.bias [16]"}));
}

TEST(Names, WithoutNumbers) {
  for (ModelConfig config : {llama_config(), gpt2_config()}) {
    Model whole(config, DType::kF32);
    whole.parameters().initialize(9);
    const Model names(config, DType::kBF16, {}, WeightUse::kNamesOnly);
    const std::vector<PublishedTensor> tensors = whole.parameters().published();
    const std::vector<PublishedSpec> specs = names.parameters().published_specs();
    ASSERT_EQ(specs.size(), tensors.size());
    for (std::size_t i = 0; i < specs.size(); ++i) {
      EXPECT_EQ(specs[i].name, tensors[i].name);
      EXPECT_EQ(specs[i].shape, tensors[i].value.shape()) << specs[i].name;
      EXPECT_EQ(draw_published(specs[i], 9).to_vector<float>(), tensors[i].value.to_vector<float>()) << specs[i].name;
    }
  }
}

TEST(Names, LlamaAlone) {
  ModelConfig config = llama_config();
  config.armt.reset();
  const Model untied(config, DType::kF32);
  const std::set<std::string> tied_names =
      with_layers({"model.embed_tokens.weight [50,16]", "model.norm.weight [16]"}, "model.layers.", llama_layer(""));
  std::set<std::string> untied_names = tied_names;
  untied_names.insert("lm_head.weight [50,16]");
  EXPECT_EQ(published(untied), untied_names);
  config.tie_word_embeddings = true;
  EXPECT_EQ(published(Model(config, DType::kF32)), tied_names);
}

TEST(Names, Gpt2) {
  // The position table is lengthened by the memory tokens.
  EXPECT_EQ(
      published(Model(gpt2_config(), DType::kF32)),
      with_layers({"memory_cell.memory [3,16]", "memory_cell.model.transformer.wte.weight [50,16]",
                   "memory_cell.model.transformer.wpe.weight [15,16]", "memory_cell.model.transformer.ln_f.weight [16]",
                   "memory_cell.model.transformer.ln_f.bias [16]"},
                  "memory_cell.model.transformer.h.", kMemoryParameters + gpt2_layer("layer.")));
  ModelConfig config = gpt2_config();
  config.armt.reset();
  EXPECT_EQ(published(Model(config, DType::kF32)),
            with_layers({"transformer.wte.weight [50,16]", "transformer.wpe.weight [12,16]",
                         "transformer.ln_f.weight [16]", "transformer.ln_f.bias [16]"},
                        "transformer.h.", gpt2_layer("")));
}

struct Statistics {
  double mean = 0, deviation = 0, largest = 0;
};

Statistics statistics(const Model& model, const std::string& name) {
  for (const PublishedTensor& tensor : model.parameters().published()) {
    if (tensor.name != name) continue;
    Statistics s;
    const auto values = tensor.value.to(Stream{}, DType::kF64).to_vector<double>();
    const auto n = static_cast<double>(values.size());
    for (const double value : values) {
      s.mean += value / n;
      s.largest = std::max(s.largest, std::abs(value));
    }
    for (const double value : values) s.deviation += (value - s.mean) * (value - s.mean) / n;
    s.deviation = std::sqrt(s.deviation);
    return s;
  }
  ADD_FAILURE() << "no tensor " << name;
  return {};
}

TEST(FreshValues, Llama) {
  ModelConfig config = llama_config();
  config.hidden_size = 64;
  config.init_std = 0.05;
  config.embedding_std = 0.3;
  Model model(config, DType::kF32);
  model.parameters().initialize(5);
  const std::string layer = "memory_cell.model.model.layers.1.";
  EXPECT_EQ(statistics(model, layer + "W_mv.weight").largest, 0);
  const Statistics query = statistics(model, layer + "W_mq.weight");
  EXPECT_LE(query.largest, 1.0 / 8);  // uniform in ±1/√D
  EXPECT_GT(query.largest, 0.95 / 8);
  EXPECT_NEAR(query.deviation, 1 / (8 * std::sqrt(3.0)), 0.01);
  EXPECT_LE(statistics(model, layer + "W_mb.bias").largest, 1.0 / 8);
  EXPECT_NEAR(statistics(model, layer + "layer.mlp.down_proj.weight").deviation, 0.05, 0.005);
  EXPECT_NEAR(statistics(model, "memory_cell.memory").deviation, 0.3, 0.06);
  EXPECT_NEAR(statistics(model, "memory_cell.model.model.embed_tokens.weight").deviation, 0.3, 0.02);
  EXPECT_EQ(statistics(model, "memory_cell.model.model.norm.weight").mean, 1);
  EXPECT_EQ(statistics(model, layer + "layer.input_layernorm.weight").deviation, 0);
}

TEST(FreshValues, Gpt2ProjectionsIntoTheResidualAreSmaller) {
  ModelConfig config = gpt2_config();
  config.hidden_size = 64;
  config.num_layers = 8;
  Model model(config, DType::kF64);
  model.parameters().initialize(5);
  const std::string layer = "memory_cell.model.transformer.h.3.layer.";
  EXPECT_NEAR(statistics(model, layer + "mlp.c_fc.weight").deviation, 0.02, 0.001);
  EXPECT_NEAR(statistics(model, layer + "mlp.c_proj.weight").deviation, 0.02 / 4, 0.0003);
  EXPECT_NEAR(statistics(model, layer + "attn.c_proj.weight").deviation, 0.02 / 4, 0.0003);
  EXPECT_EQ(statistics(model, layer + "ln_1.bias").largest, 0);
}

TEST(Decay, NoneOnNormsBiasesAndMemoryTokens) {
  for (const ModelConfig& config : {llama_config(), gpt2_config()}) {
    const Model model(config, DType::kF32);
    int decayed = 0;
    for (const auto& parameter : model.parameters().all()) {
      const std::string& key = parameter->spec().key;
      const bool exempt = key.find("norm") != std::string::npos || key.find("ln_") != std::string::npos ||
                          key.find("bias") != std::string::npos || key == "memory";
      EXPECT_EQ(parameter->spec().decay, !exempt) << key;
      decayed += parameter->spec().decay ? 1 : 0;
    }
    EXPECT_GE(decayed, 9);
  }
}

// The last layer's output at every token.
std::vector<double> hidden_of(const Model& model, const std::vector<std::int32_t>& ids) {
  const auto n = static_cast<std::int64_t>(ids.size());
  std::vector<TokenPlace> places;
  for (std::int64_t t = 0; t < n; ++t) places.push_back({0, t});
  State state = model.new_state(1);
  Executor executor(model);
  return executor.forward(Work(model, {ids}, 1, Schedule::kDiagonal, places), state, {}).to_vector<double>();
}

TEST(FreshMemory, ChangesNothingInTheBackbone) {
  // Zero values written and read: every segment is what the backbone alone makes of it.
  for (ModelConfig config : {llama_config(), gpt2_config()}) {
    Model armt(config, DType::kF64);
    config.armt.reset();
    Model plain(config, DType::kF64);
    armt.parameters().initialize(3);
    const auto wrapped = armt.parameters().published();
    for (const PublishedTensor& tensor : plain.parameters().published()) {
      std::string name = "memory_cell.model." + tensor.name;
      for (const std::string layer : {"layers.0.", "layers.1.", "h.0.", "h.1."}) {
        if (const auto at = name.find(layer); at != std::string::npos) name.insert(at + layer.size(), "layer.");
      }
      const auto found = std::find_if(wrapped.begin(), wrapped.end(), [&](const auto& t) { return t.name == name; });
      ASSERT_NE(found, wrapped.end()) << name;
      // GPT-2's lengthened table begins with the backbone's.
      tensor.value.copy_from(Stream{}, found->value.slice(0, tensor.value.dim(0)));
    }
    const std::vector<std::int32_t> ids{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9};
    const std::vector<double> whole = hidden_of(armt, ids);
    for (std::size_t begin = 0; begin < ids.size(); begin += 6) {
      const std::size_t end = std::min(ids.size(), begin + 6);
      const std::vector<double> part = hidden_of(
          plain, {ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.begin() + static_cast<std::ptrdiff_t>(end)});
      for (std::size_t i = 0; i < part.size(); ++i) ASSERT_NEAR(part[i], whole[begin * 16 + i], 1e-12);
    }
  }
}

TEST(ModelState, ShapesAndNames) {
  const Model model(llama_config(), DType::kF32);
  const std::vector<StateSpec> specs = model.state_specs();
  ASSERT_EQ(specs.size(), 4u);
  EXPECT_EQ(specs[0].name, "W_mem.{l}");
  EXPECT_EQ(specs[1].name, "z.{l}");
  // Attention's, in an open segment alone.
  EXPECT_EQ(specs[2].name, "key.{l}");
  EXPECT_EQ(specs[3].name, "value.{l}");
  EXPECT_TRUE(specs[2].open && specs[3].open && !specs[0].open);
  const State state = model.new_state(4);
  EXPECT_EQ(state[0].shape(), (Shape{2, 4, 30, 16}));
  EXPECT_EQ(state[1].shape(), (Shape{2, 4, 30}));
  for (const float value : state[0].to_vector<float>()) ASSERT_EQ(value, 0);
  EXPECT_EQ(model.segment_size(1000), 6);
  EXPECT_EQ(model.config().num_mem_tokens(), 3);

  ModelConfig config = llama_config();
  config.armt.reset();
  const Model plain(config, DType::kF32);
  EXPECT_FALSE(plain.recurrent());
  EXPECT_EQ(plain.new_state(4).bytes(), 0u);
  EXPECT_EQ(plain.segment_size(1000), 1000);
  EXPECT_EQ(plain.segment_size(0), 1);
  EXPECT_EQ(plain.config().num_mem_tokens(), 0);
  EXPECT_EQ(plain.max_segment_tokens(), 0);
  EXPECT_EQ(Model(gpt2_config(), DType::kF32).max_segment_tokens(), 12);
}

TEST(ModelErrors, ImpossibleConfigs) {
  const auto broken = [](const ModelConfig& base, auto change) {
    ModelConfig config = base;
    change(config);
    Model model(config, DType::kF32);
  };
  EXPECT_ERROR(broken(llama_config(), [](ModelConfig& c) { c.vocab_size = 0; }), Error, "vocab_size, hidden_size");
  EXPECT_ERROR(broken(llama_config(), [](ModelConfig& c) { c.num_layers = 0; }), Error, "must be at least 1");
  EXPECT_ERROR(broken(llama_config(), [](ModelConfig& c) { c.armt->d_mem = 0; }), Error, "armt: segment_size");
  EXPECT_ERROR(broken(llama_config(), [](ModelConfig& c) { c.attention().rope_scaling.type = "yarn"; }), Error,
               "'yarn' is not supported");
  EXPECT_ERROR(broken(gpt2_config(), [](ModelConfig& c) { c.attention().num_heads = 3; }), Error,
               "not a multiple of num_heads 3");
}

TEST(Rotary, Frequencies) {
  const std::vector<double> plain = rotary_frequencies(10000, 8, {});
  ASSERT_EQ(plain.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(plain[i], std::pow(10000.0, -static_cast<double>(i) / 4), 1e-15);
  RopeScaling linear;
  linear.type = "linear";
  linear.factor = 4;
  const std::vector<double> slower = rotary_frequencies(10000, 8, linear);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(slower[i], plain[i] / 4, 1e-15);
}

TEST(Rotary, Llama3Scaling) {
  // Llama 3.2's own values. Wavelengths below 8192 / 4 stay, above 8192 are 32 times as long, between are blended.
  RopeScaling scaling;
  scaling.type = "llama3";
  scaling.factor = 32;
  scaling.low_freq_factor = 1;
  scaling.high_freq_factor = 4;
  scaling.original_max_positions = 8192;
  const std::vector<double> plain = rotary_frequencies(500000, 64, {}),
                            scaled = rotary_frequencies(500000, 64, scaling);
  int kept = 0, divided = 0, blended = 0;
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const double wavelength = 2 * 3.14159265358979323846 / plain[i];
    if (wavelength < 2048) {
      EXPECT_EQ(scaled[i], plain[i]);
      ++kept;
    } else if (wavelength > 8192) {
      EXPECT_NEAR(scaled[i], plain[i] / 32, 1e-15);
      ++divided;
    } else {
      const double smooth = (8192 / wavelength - 1) / 3;
      EXPECT_NEAR(scaled[i], (1 - smooth) * plain[i] / 32 + smooth * plain[i], 1e-15);
      EXPECT_LT(scaled[i], plain[i]);
      EXPECT_GT(scaled[i], plain[i] / 32);
      ++blended;
    }
  }
  // Computed once with the published rule: 15 stay, 3 are blended, 14 divided.
  EXPECT_EQ(kept, 15);
  EXPECT_EQ(blended, 3);
  EXPECT_EQ(divided, 14);
}

TEST(Rotary, DynamicScaling) {
  RopeScaling scaling;
  scaling.type = "dynamic";
  scaling.factor = 2;
  scaling.original_max_positions = 16;
  const std::vector<double> plain = rotary_frequencies(10000, 8, {});
  for (const std::int64_t rows : {0, 5, 16}) EXPECT_EQ(rotary_frequencies(10000, 8, scaling, rows), plain);
  // Three times the length and factor 2: θ · 5^(8/6).
  const std::vector<double> longer = rotary_frequencies(10000, 8, scaling, 48);
  EXPECT_EQ(longer[0], 1);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(longer[i], plain[i] * std::pow(5.0, -static_cast<double>(i) / 3), 1e-15);
  }
  EXPECT_ERROR(rotary_frequencies(10000, 2, scaling, 48), Error, "heads of width 2, expected more than 2");
}

TEST(Rotary, Table) {
  const Tensor table = rotary_table(Stream{}, {1, 0.1}, 5, DType::kF64);
  EXPECT_EQ(table.shape(), (Shape{5, 4}));
  for (std::int64_t p = 0; p < 5; ++p) {
    const double* row = table.data<double>() + p * 4;
    EXPECT_DOUBLE_EQ(row[0], std::cos(static_cast<double>(p)));
    EXPECT_DOUBLE_EQ(row[1], std::cos(0.1 * static_cast<double>(p)));
    EXPECT_DOUBLE_EQ(row[2], std::sin(static_cast<double>(p)));
    EXPECT_DOUBLE_EQ(row[3], std::sin(0.1 * static_cast<double>(p)));
  }
}

TEST(Config, Defaults) {
  ModelConfig config = llama_config();
  EXPECT_EQ(config.attention().kv_heads(), 2);
  EXPECT_EQ(config.attention().head_width(config.hidden_size), 4);
  EXPECT_EQ(config.mlp_width(), 24);
  EXPECT_EQ(config.armt->num_features(), 30);
  EXPECT_EQ(config.fresh_embedding_std(), config.init_std);
  config.attention().num_kv_heads = 0;
  config.attention().head_dim = 6;
  config.feed_forward.intermediate_size = 0;
  EXPECT_EQ(config.attention().kv_heads(), 4);
  EXPECT_EQ(config.attention().head_width(config.hidden_size), 6);
  EXPECT_EQ(config.mlp_width(), 64);
  EXPECT_EQ(name_of(SegmentAlignment::kLeft), "left");
  EXPECT_EQ(name_of(SegmentAlignment::kRight), "right");
  EXPECT_EQ(name_of(SegmentAlignment::kCenter), "center");
}

}  // namespace
}  // namespace wt
