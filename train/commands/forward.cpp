// wavetape forward: a model's numbers for given ids, to compare with another implementation.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "core/safetensors.h"
#include "schedulers/language_model.h"
#include "train/commands/commands.h"
#include "train/commands/reading_options.h"
#include "train/models/finite.h"
#include "train/models/model_io.h"

namespace wt {
namespace {

struct Options {
  std::string model, input, output, schedule = "auto", dtype = "f32", device = "auto", activations = "keep";
  ReadingOptions reading;
  bool backward = false;
};

Shape with_batch(const Shape& shape, std::int64_t batch) {
  Shape all{batch};
  for (int i = 0; i < shape.rank(); ++i) all.append(shape[i]);
  return all;
}

// (rows, heads, width) -> (heads, rows, width)
Tensor heads_first(const Tensor& t) {
  const std::int64_t rows = t.dim(0), heads = t.dim(1), width = t.dim(2);
  const Tensor out = Tensor::empty(Stream{}, {heads, rows, width}, t.dtype());
  for (std::int64_t h = 0; h < heads; ++h) {
    for (std::int64_t row = 0; row < rows; ++row) {
      out.select(h).select(row).copy_from(Stream{}, t.select(row).select(h));
    }
  }
  return out;
}

// Segments for texts of n tokens. Where layers carry a text's state they make no difference: it is read as one.
std::int64_t segments_for(const ModelConfig& config, std::int64_t n, std::int64_t given) {
  return given > 0 || config.has_memory() || !config.layers_carry_text() ? given : n;
}

// (B, …) of every sample's state after a text of n tokens; keys and values as Hugging Face's library has them, (B,
// heads, rows, width).
NamedTensors state_of(const Model& model, const State& state, std::int64_t n) {
  std::int64_t rows = 0;
  for (const Segment& s : cut_segments(n, model.segment_size(n), model.config().segment_alignment())) {
    rows += model.layout().rows(s.length);
  }
  NamedTensors all;
  for (int b = 0; b < state.batch(); ++b) {
    std::size_t at = 0;
    for (auto& [name, value] : state.published(b, rows)) {
      Tensor own = value.to_cpu(model.stream());
      if (name.starts_with("key.") || name.starts_with("value.")) own = heads_first(own);
      if (b == 0) all.emplace_back(name, Tensor::empty(Stream{}, with_batch(own.shape(), state.batch()), own.dtype()));
      all[at++].second.select(b).copy_from(Stream{}, own);
    }
  }
  return all;
}

TokenBatch read_batch(const std::string& path, std::int64_t vocab_size) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  const Tensor ids = file.tensor("input_ids");
  WT_CHECK(ids.shape().rank() == 2 && ids.dtype() == DType::kI64 && ids.numel() > 0, path, ": input_ids is ", ids,
           ", expected i64[B,n]");
  TokenBatch batch;
  batch.batch = static_cast<int>(ids.dim(0));
  Tensor mask;
  if (file.contains("labels_mask")) {
    mask = file.tensor("labels_mask");
    WT_CHECK(mask.shape() == ids.shape() && mask.dtype() == DType::kU8, path, ": labels_mask is ", mask,
             ", expected u8", ids.shape());
  }
  for (std::int64_t b = 0; b < ids.dim(0); ++b) {
    std::vector<std::int32_t> row;
    for (const std::int64_t id : ids.select(b).to_vector<std::int64_t>()) {
      WT_CHECK(id >= 0 && id < vocab_size, path, ": input_ids has ", id, ", the vocabulary ", vocab_size, " tokens");
      row.push_back(static_cast<std::int32_t>(id));
    }
    const std::vector<std::uint8_t> all(row.size(), 1);
    batch.add(std::move(row), mask.defined() ? mask.select(b).to_vector<std::uint8_t>() : all);
  }
  return batch;
}

void run(const Options& o) {
  const DType dtype = dtype_from_name(o.dtype);
  if (!is_floating(dtype)) throw UsageError(cat("--dtype ", o.dtype, ": expected f32, f64 or bf16"));
  if (o.activations != "keep" && o.activations != "recompute") {
    throw UsageError(cat("--activations ", o.activations, ": expected keep or recompute"));
  }
  const Stream stream(device_for(o.device, dtype));
  const ModelLocation location = find_model(o.model);
  const ModelConfig config = config_of(location);
  const TokenBatch batch = read_batch(o.input, config.vocab_size);
  ReadingOptions reading = o.reading;
  reading.segment_size =
      segments_for(config, static_cast<std::int64_t>(batch.sequences[0].size()), reading.segment_size);
  const auto model = load_model(location, dtype, stream, WeightUse::kTraining, reading);
  const Schedule schedule = choose_schedule(o.schedule, model->one_after_another());
  const std::int64_t n = static_cast<std::int64_t>(batch.sequences[0].size()), v = model->config().vocab_size;

  Executor executor(*model);
  std::vector<TokenPlace> places;
  for (int b = 0; b < batch.batch; ++b) {
    for (std::int64_t t = 0; t < n; ++t) places.push_back({b, t});
  }
  State state = model->new_state(batch.batch);
  const Tensor hidden = executor.forward(Work(*model, batch.sequences, batch.batch, schedule, places), state, {});
  const Tensor logits = Tensor::empty(Stream{}, {batch.batch * n, v}, wide(model->dtype()));
  visit_logits(*model, hidden, [&](std::int64_t first, const Tensor& part) {
    logits.slice(first, first + part.dim(0)).copy_from(stream, part);
  });
  for (std::int64_t row = 0; row < logits.dim(0); ++row) {
    if (all_finite(logits.slice(row, row + 1))) continue;
    throw Error(cat(o.model, ": the logits at token ", row % n, " of sample ", row / n, " are not finite (",
                    name_of(model->dtype()),
                    "): the weights are damaged or too large for this dtype, or a training that diverged has written "
                    "them"));
  }
  NamedTensors out{{"logits", logits.reshape({batch.batch, n, v})}};

  ExecutorOptions options;
  options.gradients = o.backward;
  options.activations = o.activations == "keep" ? Activations::kKeep : Activations::kRecompute;
  model->parameters().zero_grad();
  const std::int64_t targets = batch.num_targets();
  State trained = model->new_state(batch.batch);
  const LossResult loss = run_language_model(executor, *model, batch, schedule, options,
                                             1.0 / static_cast<double>(std::max<std::int64_t>(1, targets)), trained);
  out.emplace_back("loss", Tensor::from<double>({1}, {loss.mean()}).to(Stream{}, wide(model->dtype())));
  for (auto& [name, value] : state_of(*model, state, n)) out.emplace_back(name, value);
  if (o.backward) {
    for (const PublishedTensor& tensor : model->parameters().published()) {
      out.emplace_back("grad." + tensor.name, tensor.grad);
    }
  }
  write_safetensors(o.output, out, {{"schedule", std::string(name_of(schedule))}, {"dtype", o.dtype}});
  std::printf("loss %.7g over %lld targets; %zu tensors in %s\n", loss.mean(), static_cast<long long>(loss.targets),
              out.size(), o.output.c_str());
}

}  // namespace

void add_forward(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("forward", "Logits, loss, memory and gradients of a model for given ids, as safetensors");
  command->add_option("MODEL", o->model, "Model or run folder")->required();
  command->add_option("--input", o->input, "Safetensors with input_ids (B, n) i64 and optionally labels_mask (B, n) u8")
      ->required();
  command
      ->add_option("--output", o->output,
                   "Safetensors for logits, loss, grad.{name} and the state after the text: W_mem.{l}, z.{l}, "
                   "ssm_state.{l}, conv_tail.{l}, key.{l}, value.{l}")
      ->required();
  add_segment_size(command, o->reading);
  command->add_option("--schedule", o->schedule, "auto, sequential, diagonal or streaming")->capture_default_str();
  command->add_flag("--backward", o->backward, "Also write the gradient of the mean loss for every parameter");
  command->add_option("--activations", o->activations, "For --backward: keep or recompute")->capture_default_str();
  command->add_option("--dtype", o->dtype, "What to compute in; on a CPU bf16 only rounds the weights")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "f64", "bf16"}));
  command->add_option("--device", o->device, "auto, cpu or cuda")->capture_default_str();
  command->footer("Example:\n  wavetape forward my_model --input ids.safetensors --output out.safetensors --backward");
  command->callback([o] { run(*o); });
}

}  // namespace wt
