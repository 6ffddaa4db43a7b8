// Decoding with adapters in bfloat16, over and over: a kernel that fetches what the one before it still writes would be
// seen in one of very many steps.
#include <cstring>
#include <map>
#include <memory>

#include "schedulers/decoder.h"
#include "tests/schedulers/support.h"
#include "tests/support/gpu.h"
#include "tests/support/tolerances.h"

namespace wt {
namespace {

ModelConfig config_of(bool adapters) {
  ModelConfig config = tiny_config("llama", 4);
  config.hidden_size = 512;
  config.feed_forward.intermediate_size = 768;
  config.attention().num_heads = 8;
  config.attention().num_kv_heads = 4;
  config.vocab_size = 64;
  config.armt.reset();
  if (adapters) config.lora.emplace();
  if (adapters) {
    config.lora = {.rank = 8,
                   .alpha = 16,
                   .dropout = 0,
                   .targets = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}};
  }
  return config;
}

// W + alpha / rank · B A, published tensor by published tensor.
std::unique_ptr<Model> merged(const Model& model) {
  auto out = std::make_unique<Model>(config_of(false), DType::kBF16, gpu());
  std::map<std::string, std::vector<double>> values;
  std::map<std::string, Shape> shapes;
  for (const PublishedTensor& tensor : model.parameters().published()) {
    values[tensor.name] = tensor.read(gpu()).to_cpu(gpu()).to(Stream{}, DType::kF64).to_vector<double>();
    shapes[tensor.name] = tensor.value.shape();
  }
  const double scale = model.config().lora->scale();
  for (const PublishedTensor& tensor : out->parameters().published()) {
    std::vector<double> w = values.at(tensor.name);
    const std::string module = tensor.name.substr(0, tensor.name.rfind('.'));
    const auto a = values.find(module + ".lora_A.weight"), b = values.find(module + ".lora_B.weight");
    if (a != values.end()) {
      const std::int64_t rows = tensor.value.dim(0), columns = tensor.value.dim(1), rank = shapes.at(a->first)[0];
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t r = 0; r < rank; ++r) {
          const double factor = scale * b->second[static_cast<std::size_t>(i * rank + r)];
          for (std::int64_t j = 0; j < columns; ++j) {
            w[static_cast<std::size_t>(i * columns + j)] +=
                factor * a->second[static_cast<std::size_t>(r * columns + j)];
          }
        }
      }
    }
    tensor.write(gpu(), Tensor::from<double>(tensor.value.shape(), w));
  }
  return out;
}

TEST(GpuAdapters, AHundredThousandStepsAreTheMergedModels) {
  const auto model = tiny_model(config_of(true), DType::kBF16, 1, gpu(), 0.04);
  const auto plain = merged(*model);
  constexpr std::int64_t kRows = 64, kSteps = 100'000;
  std::int64_t wrong = 0;
  for (const int batch : {1, 4}) {
    const std::vector<bool> all(static_cast<std::size_t>(batch), true);
    const std::vector<std::int64_t> none(static_cast<std::size_t>(batch), 0);
    Decoder with(*model, model->new_state(batch), none, kRows), without(*plain, plain->new_state(batch), none, kRows);
    std::vector<Tensor> first;
    for (std::int64_t step = 0; step < kSteps / 2; ++step) {
      const std::int64_t row = step % kRows;
      TokenSequences tokens;
      for (int b = 0; b < batch; ++b) tokens.push_back({static_cast<std::int32_t>((row * 7 + b * 5) % 64)});
      if (row == 0) with.clear(all);
      const Tensor hidden = with.append(tokens).to_cpu(gpu());
      if (step < kRows) {
        EXPECT_LT(relative_error(hidden, without.append(tokens)), 5 * kGpuBF16) << row;
        first.push_back(hidden.clone(Stream{}));
      } else if (std::memcmp(hidden.raw(), first[static_cast<std::size_t>(row)].raw(), hidden.bytes()) != 0) {
        ++wrong;
      }
    }
  }
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace wt
