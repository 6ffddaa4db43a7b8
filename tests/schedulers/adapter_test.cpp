// Models with adapters: a fresh one is the model without, schedules agree, adapters are their merged weights, and
// nothing but what trains gets a gradient.
#include "layers/adapter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "tests/schedulers/support.h"
#include "tests/support/expect_error.h"
#include "tests/support/tolerances.h"

namespace wt {
namespace {

ModelConfig with_lora(std::string_view type, double dropout = 0) {
  ModelConfig config = tiny_config(type, 3);
  config.lora.emplace();
  config.lora->rank = 2;
  config.lora->alpha = 3;
  config.lora->dropout = dropout;
  if (type == "llama") {
    config.lora->targets = {"q_proj", "self_attn.v_proj", "o_proj", "up_proj", "down_proj"};
  } else if (type == "mamba2") {
    config.lora->targets = {"in_proj", "mixer.out_proj"};
  } else {
    config.lora->targets = {"c_attn", "mlp.c_proj"};
  }
  return config;
}

TokenBatch batch_of(const ModelConfig& config) {
  return random_batch({13, 4, 17}, 3, config.vocab_size);
}

// The same values under the same names; what only one has stays.
void copy_values(const Model& from, const Model& to) {
  std::map<std::string, Tensor> values;
  for (const PublishedTensor& tensor : from.parameters().published()) values[tensor.name] = tensor.value;
  for (const PublishedTensor& tensor : to.parameters().published()) {
    if (const auto found = values.find(tensor.name); found != values.end()) {
      tensor.value.copy_from(Stream{}, found->second);
    }
  }
}

class Adapters : public testing::TestWithParam<std::string_view> {};

TEST_P(Adapters, HaveTheLibrarysNamesShapesAndFirstValues) {
  Model model(with_lora(GetParam()), DType::kF64);
  model.parameters().initialize(5);
  const bool llama = GetParam() == "llama";
  const bool mamba = GetParam() == "mamba2";
  const std::string layer = llama   ? "memory_cell.model.model.layers.1.layer."
                            : mamba ? "memory_cell.model.backbone.layers.1.layer."
                                    : "memory_cell.model.transformer.h.1.layer.";
  std::map<std::string, Tensor> found;
  for (const PublishedTensor& tensor : model.parameters().published()) {
    if (tensor.parameter->spec().role == Role::kAdapter) found[tensor.name] = tensor.value;
  }
  EXPECT_EQ(found.size(), (llama ? 5u : 2u) * 2 * 3);
  // Width 8, feed-forward 10, two heads of four and one key/value head; a scan of four heads of four, two groups of
  // three states.
  const std::map<std::string, std::pair<std::int64_t, std::int64_t>> extents =
      llama   ? std::map<std::string, std::pair<std::int64_t, std::int64_t>>{{"self_attn.q_proj", {8, 8}},
                                                                             {"self_attn.v_proj", {8, 4}},
                                                                             {"self_attn.o_proj", {8, 8}},
                                                                             {"mlp.up_proj", {8, 10}},
                                                                             {"mlp.down_proj", {10, 8}}}
      : mamba ? std::map<std::string, std::pair<std::int64_t, std::int64_t>>{{"mixer.in_proj", {8, 48}},
                                                                             {"mixer.out_proj", {16, 8}}}
              : std::map<std::string, std::pair<std::int64_t, std::int64_t>>{{"attn.c_attn", {8, 24}},
                                                                             {"mlp.c_proj", {10, 8}}};
  for (const auto& [module, in_out] : extents) {
    const Tensor a = found[layer + module + ".lora_A.weight"], b = found[layer + module + ".lora_B.weight"];
    ASSERT_TRUE(a.defined() && b.defined()) << module;
    EXPECT_EQ(a.shape(), (Shape{2, in_out.first})) << module;
    EXPECT_EQ(b.shape(), (Shape{in_out.second, 2})) << module;
    const double bound = 1 / std::sqrt(static_cast<double>(in_out.first));
    double largest = 0;
    for (const double value : a.to_vector<double>()) largest = std::max(largest, std::abs(value));
    EXPECT_LE(largest, bound);
    EXPECT_GT(largest, bound / 2);
    for (const double value : b.to_vector<double>()) EXPECT_EQ(value, 0);
  }
}

TEST_P(Adapters, FreshOnesChangeNothing) {
  ModelConfig config = with_lora(GetParam());
  Model model(config, DType::kF64);
  model.parameters().initialize(5);
  config.lora.reset();
  const std::unique_ptr<Model> plain = tiny_model(config);
  copy_values(*plain, model);
  const TokenBatch batch = batch_of(config);
  ExecutorOptions options;
  options.gradients = true;
  const StepResult with = run_step(model, batch, Schedule::kDiagonal, options);
  const StepResult without = run_step(*plain, batch, Schedule::kDiagonal, options);
  EXPECT_EQ(with.loss, without.loss);
  EXPECT_EQ(values_of(with.state), values_of(without.state));
}

TEST_P(Adapters, SchedulesAndRecomputationAgree) {
  for (const double dropout : {0.0, 0.3}) {
    const std::unique_ptr<Model> model = tiny_model(with_lora(GetParam(), dropout));
    const TokenBatch batch = batch_of(model->config());
    ExecutorOptions options;
    options.gradients = options.training = true;
    options.dropout = {.seed = 3, .step = 2};
    const StepResult oracle = run_step(*model, batch, Schedule::kSequential, options);
    for (const Schedule schedule : {Schedule::kDiagonal, Schedule::kStreaming}) {
      for (const Activations activations : {Activations::kKeep, Activations::kRecompute}) {
        options.activations = activations;
        const StepResult step = run_step(*model, batch, schedule, options);
        EXPECT_NEAR(step.loss, oracle.loss, kSchedulesAgreeF64 * (1 + std::abs(oracle.loss)));
        ASSERT_EQ(step.grads.size(), oracle.grads.size());
        for (std::size_t i = 0; i < step.grads.size(); ++i) {
          for (std::size_t j = 0; j < step.grads[i].second.size(); ++j) {
            const double want = oracle.grads[i].second[j];
            ASSERT_NEAR(step.grads[i].second[j], want, 10 * kSchedulesAgreeF64 * (1 + std::abs(want)))
                << step.grads[i].first;
          }
        }
      }
    }
  }
}

TEST_P(Adapters, AreTheirMergedWeights) {
  ModelConfig config = with_lora(GetParam());
  const std::unique_ptr<Model> model = tiny_model(config);
  config.lora.reset();
  Model merged(config, DType::kF64);
  copy_values(*model, merged);
  std::map<std::string, Tensor> values;
  for (const PublishedTensor& tensor : model->parameters().published()) values[tensor.name] = tensor.value;
  int adapted = 0;
  for (const PublishedTensor& tensor : merged.parameters().published()) {
    const std::string module = tensor.name.substr(0, tensor.name.rfind('.'));
    const auto a = values.find(module + ".lora_A.weight"), b = values.find(module + ".lora_B.weight");
    if (a == values.end() || !tensor.name.ends_with(".weight")) continue;
    const std::int64_t out = b->second.dim(0), in = a->second.dim(1);
    const bool in_out = GetParam() == "gpt2";
    for (std::int64_t o = 0; o < out; ++o) {
      for (std::int64_t i = 0; i < in; ++i) {
        for (std::int64_t r = 0; r < 2; ++r) {
          tensor.value.data<double>()[in_out ? i * out + o : o * in + i] +=
              1.5 * b->second.data<double>()[o * 2 + r] * a->second.data<double>()[r * in + i];
        }
      }
    }
    ++adapted;
  }
  EXPECT_EQ(adapted, (GetParam() == "llama" ? 5 : 2) * 3);
  const TokenBatch batch = batch_of(config);
  ExecutorOptions options;
  options.gradients = true;
  const StepResult one = run_step(*model, batch, Schedule::kDiagonal, options);
  const StepResult other = run_step(merged, batch, Schedule::kDiagonal, options);
  EXPECT_NEAR(one.loss, other.loss, 1e-11 * std::abs(other.loss));
  // Far from what the base gives.
  Model base(config, DType::kF64);
  copy_values(*model, base);
  EXPECT_GT(std::abs(run_step(base, batch, Schedule::kDiagonal, options).loss - one.loss), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Backbones, Adapters, testing::Values<std::string_view>("llama", "gpt2", "mamba2"),
                         [](const auto& given) { return std::string(given.param); });

TEST(AdapterTargets, ThatNameNothingAreRefused) {
  ModelConfig config = with_lora("llama");
  config.lora->targets = {"q_proj", "k_prj"};
  EXPECT_ERROR(Model(config, DType::kF64), Error, "'k_prj' names no matrix of the blocks, did you mean k_proj?");
  config.lora->targets = {"W_mq"};
  EXPECT_ERROR(Model(config, DType::kF64), Error, "expected some of q_proj, k_proj, v_proj, o_proj, gate_proj");
  config.lora->targets = {"proj"};  // the end of a name, but no part of it behind a dot
  EXPECT_ERROR(Model(config, DType::kF64), Error, "'proj' names no matrix");
}

}  // namespace
}  // namespace wt
