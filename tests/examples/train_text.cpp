// A training loop of one's own: a small ARMT learns the bytes of a text file, reading segment by segment in diagonal
// waves. usage: train_text FILE [STEPS]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "core/files.h"
#include "schedulers/language_model.h"
#include "train/run/optimizer.h"

namespace {

wt::ModelConfig small_model() {
  wt::ModelConfig config;
  config.vocab_size = 256;
  config.hidden_size = 48;
  config.feed_forward.intermediate_size = 96;
  config.num_layers = 2;
  config.attention().num_heads = 4;
  config.armt.emplace();
  config.armt = {.segment_size = 32, .num_mem_tokens = 4, .d_mem = 8};
  return config;
}

// `batch` stretches of `length` bytes, evenly spread over the text and moved on by `step`; every byte predicts the
// next.
wt::TokenBatch sample(const std::string& text, int batch, std::size_t length, std::size_t step) {
  wt::TokenBatch tokens;
  tokens.batch = batch;
  const std::size_t starts = text.size() - length + 1;
  for (int b = 0; b < batch; ++b) {
    const std::size_t from =
        (static_cast<std::size_t>(b) * starts / static_cast<std::size_t>(batch) + step * 17) % starts;
    std::vector<std::int32_t> ids;
    for (std::size_t i = 0; i < length; ++i) ids.push_back(static_cast<unsigned char>(text[from + i]));
    tokens.add(ids, std::vector<std::uint8_t>(length, 1));
  }
  return tokens;
}

void train(const std::string& path, std::size_t steps) {
  constexpr std::size_t kLength = 96;
  constexpr int kBatch = 8;
  const std::string text = wt::read_file(path);
  if (text.size() < kLength) throw wt::Error(wt::cat(path, ": ", text.size(), " bytes, expected at least ", kLength));

  wt::Model model(small_model(), wt::DType::kF32);
  model.parameters().initialize(1);
  wt::AdamW optimizer(model.parameters(), {.lr = 3e-3});
  wt::Executor executor(model);
  wt::ExecutorOptions options;
  options.gradients = true;
  for (std::size_t step = 0; step < steps; ++step) {
    const wt::TokenBatch batch = sample(text, kBatch, kLength, step);
    model.parameters().zero_grad();
    wt::State memory = model.new_state(kBatch);
    const wt::LossResult loss = wt::run_language_model(executor, model, batch, wt::Schedule::kDiagonal, options,
                                                       1.0 / static_cast<double>(batch.num_targets()), memory);
    optimizer.step(3e-3, std::min(1.0, 1.0 / optimizer.grad_norm()));
    if (step % 20 == 0 || step + 1 == steps) std::printf("step %zu loss %.4f\n", step, loss.mean());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: train_text FILE [STEPS]\n");
    return 2;
  }
  try {
    train(argv[1], argc > 2 ? static_cast<std::size_t>(std::atoi(argv[2])) : 100);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
