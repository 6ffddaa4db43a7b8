#include "train/run/run_setup.h"

#include <omp.h>

#include "core/memory.h"
#include "data/babi/stories.h"
#include "train/costs.h"
#include "train/models/model_io.h"
#include "train/run/freeze.h"
#include "train/run/open_books.h"
#include "train/run/run_model.h"
#include "train/units.h"

namespace wt {

void check_memory(const Config& config, const ModelConfig& model, std::int64_t parameters, std::int64_t trained,
                  Device device) {
  const std::uint64_t capacity = memory_capacity(device);
  for (std::size_t i = 0; i < config.train.stages.size(); ++i) {
    const StageConfig& stage = config.train.stages[i];
    const auto needed = [&](std::int64_t batch) {
      const MemoryEstimate memory = stage_memory(config, stage, model, parameters, trained, batch);
      return memory.total() + memory.activations / 8;  // blocks are rounded up by as much (core/memory.cpp)
    };
    if (needed(stage.batch_size) <= capacity) continue;
    const std::string own = cat("train.stages.", i, ".batch_size");
    const std::string key = config.places.has(own) ? own : "train.batch_size";
    const std::string there = cat(device, " has ", human_bytes(capacity), " free");
    const std::string recompute =
        config.train.activations == Activations::kKeep ? ", or train.activations: recompute" : "";
    if (needed(1) > capacity) {
      config.places.fail(key, cat("is ", stage.batch_size, ", but in stage ", i + 1, " even a batch of 1 needs about ",
                                  human_bytes(needed(1)), " of memory, and ", there,
                                  ": take a smaller model or fewer segments", recompute));
    }
    std::int64_t fits = 1;
    for (std::int64_t step = std::int64_t{1} << 40; step > 0; step /= 2) {
      if (fits + step < stage.batch_size && needed(fits + step) <= capacity) fits += step;
    }
    config.places.fail(key, cat("is ", stage.batch_size, ", for which stage ", i + 1, " needs about ",
                                human_bytes(needed(stage.batch_size)), " of memory, and ", there, ": at most ", fits,
                                " fit; lower it and raise train.grad_accumulation instead", recompute));
  }
}

namespace {

// Training reads these; an evaluation only those of the test split.
void check_stories(const Config& config) {
  if (config.data.is_retrieval() || config.data.babi == "simulate") return;
  try {
    for (const std::string& task : config.data.tasks()) find_babi_file(config.data.babi, task, "train");
  } catch (const Error& error) {
    config.places.fail("data.babi", error.what());
  }
}

}  // namespace

RunSetup set_up_run(Config& config, const std::optional<Tokenizer>& kept) {
  if (config.train.stages.empty()) config.places.fail("train.stages", "is empty, expected at least one stage");
  RunSetup setup{kept ? *kept : load_tokenizer(config), nullptr, nullptr};
  if (config.run.threads > 0) omp_set_num_threads(static_cast<int>(config.run.threads));
  const Device device = device_from_name(config.run.device);
  if (device.is_cpu() && config.run.dtype == DType::kBF16) {
    config.places.fail("run.dtype", "is bf16: a CPU trains in f32 or f64 (run.dtype=f32)");
  }
  if (device.is_cuda() && config.run.dtype == DType::kF64) {
    config.places.fail("run.dtype", "is f64: a GPU trains in f32 or bf16 (run.dtype=f32)");
  }
  const ModelConfig model = resolve_model(config, setup.tokenizer);
  fit_schedule(config, model);
  check_data_files(config);
  check_stories(config);
  if (!config.model_from.empty()) check_weights(model, find_model(config.model_from), true);
  // Before anything large is made; how much of the model trains is known only once it is there.
  const std::int64_t parameters = count_parameters(model);
  const bool all_train = !model.lora && config.train.freeze.empty();
  check_memory(config, model, parameters, all_train ? parameters : 0, device);
  setup.model = std::make_unique<Model>(model, config.run.dtype, Stream(device));
  freeze_parameters(*setup.model, config.train.freeze, [&](std::size_t pattern, const std::string& what) {
    config.places.fail(cat("train.freeze.", pattern), what);
  });
  if (!all_train) check_memory(config, model, parameters, setup.model->parameters().trainable_count(), device);
  std::shared_ptr<const BookText> books;
  if (config.data.has_books()) books = open_books(config.data.books, setup.tokenizer);
  setup.curriculum = std::make_unique<Curriculum>(config, model, setup.tokenizer, std::move(books));
  return setup;
}

}  // namespace wt
