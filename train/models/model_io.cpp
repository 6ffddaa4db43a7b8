#include "train/models/model_io.h"

#include <filesystem>

#include "core/files.h"
#include "layers/families/family.h"
#include "train/models/finite.h"
#include "train/models/memory_config.h"
#include "train/models/model_config_json.h"
#include "train/models/model_folder.h"
#include "train/models/model_source.h"

namespace wt {
namespace fs = std::filesystem;
namespace {

// Where a parameter of this name and shape stands; null for one that keeps its value. Throws Error for one that is
// missing or of another shape.
const WeightMap::Place* find_weight(WeightMap& map, const Model& model, const ParameterSpec& parameter,
                                    const std::string& name, const Shape& shape, bool fresh_memory) {
  if (parameter.role == Role::kAdapter) return nullptr;
  const WeightMap::Place* place = map.find(name, fresh_memory);
  if (place == nullptr && fresh_memory && parameter.role == Role::kMemory) return nullptr;
  if (place == nullptr) place = &map.require(name, fresh_memory);
  const Shape& found = place->shape();
  // A table of positions grows by the memory's rows when a plain one is wrapped.
  const bool grown = fresh_memory && model.is_position_table(parameter) && found.rank() == 2 && found[1] == shape[1] &&
                     found[0] < shape[0];
  WT_CHECK(grown || found == shape, place->file->path(), ": tensor ", place->name, " is ", found,
           ", the model expects ", shape);
  return place;
}

}  // namespace

Device device_for(const std::string& name, DType dtype) {
  return name == "auto" && dtype == DType::kF64 ? Device{} : device_from_name(name);
}

DType computing_dtype(const Device& device, DType dtype) {
  return device.is_cpu() && dtype == DType::kBF16 ? DType::kF32 : dtype;
}

void apply(const ReadingOptions& options, ModelConfig& config) {
  std::int64_t size = options.segment_size;
  if (!options.passes_state) {
    bool any = false;
    for (KindConfig& kind : config.kinds) {
      auto* mixer = std::get_if<Mamba2Config>(&kind.mixer);
      if (mixer == nullptr) continue;
      mixer->passes_state = false;
      if (size == 0 && !config.has_memory()) size = mixer->chunk_size;
      any = true;
    }
    if (!any) throw UsageError("--strategy independent is for models with Mamba-2 layers, this one has none");
  }
  if (size > 0) set_segment_size(config, size);
  check_model(config, [](const std::string& key, const std::string& what) {
    throw UsageError(cat("--segment-size does not go with this model: ", key, " ", what));
  });
}

std::unique_ptr<Model> load_model(const ModelLocation& location, DType dtype, const Stream& stream, WeightUse use,
                                  const ReadingOptions& reading) {
  if (stream.device().is_cuda() && dtype == DType::kF64) {
    throw UsageError("f64 runs on the CPU only: choose f32 or bf16, or --device cpu");
  }
  const DType computing = computing_dtype(stream.device(), dtype);
  ModelConfig config = config_of(location);
  config.lora.reset();
  apply(reading, config);
  check_weights(config, location);
  auto model = std::make_unique<Model>(config, computing, stream, use);
  load_weights(*model, location);
  if (computing != dtype) {  // the weights that bf16 would have
    for (const auto& parameter : model->parameters().all()) {
      parameter->value().copy_from(stream, parameter->value().to(stream, DType::kBF16).to(stream, DType::kF32));
    }
  }
  return model;
}

ModelConfig config_of(const ModelLocation& location) {
  return open_source(location).config;
}

void check_weights(const ModelConfig& config, const ModelLocation& location, bool fresh_memory) {
  ModelSource source = open_source(location);
  const Model names(config, DType::kF32, {}, WeightUse::kNamesOnly);
  for (const PublishedSpec& spec : names.parameters().published_specs()) {
    find_weight(source.map, names, *spec.parameter, spec.name, spec.shape, fresh_memory);
  }
}

void load_weights(Model& model, const ModelLocation& location, bool fresh_memory) {
  ModelSource source = open_source(location);
  const bool narrow = model.dtype() != DType::kF64;
  for (const PublishedTensor& tensor : model.parameters().published()) {
    const WeightMap::Place* place =
        find_weight(source.map, model, tensor.parameter->spec(), tensor.name, tensor.value.shape(), fresh_memory);
    if (place == nullptr) continue;
    const bool grown = place->shape() != tensor.value.shape();
    const PublishedTensor target = grown ? tensor.slice(0, place->shape()[0]) : tensor;
    target.write(model.stream(), source.tensor(*place, tensor.name, narrow));
  }
  source.finish();
}

void load_tensors(Model& model, const SafetensorsFile& file, bool trainable) {
  const std::string hint = "; did train.freeze or model.lora change since the run began?";
  std::size_t used = 0;
  for (const PublishedTensor& tensor : model.parameters().published()) {
    if (tensor.trainable != trainable) continue;
    WT_CHECK(file.contains(tensor.name), file.path(), ": tensor ", tensor.name, " is missing", hint);
    WT_CHECK(file.shape(tensor.name) == tensor.value.shape(), file.path(), ": tensor ", tensor.name, " is ",
             file.shape(tensor.name), ", the model expects ", tensor.value.shape());
    check_finite(file, tensor.name);
    tensor.write(model.stream(), file.tensor(tensor.name));
    ++used;
  }
  const std::size_t count = file.names().size();
  WT_CHECK(count == used, file.path(), ": holds ", count, " tensors, expected ", used, hint);
}

NamedTensors published_weights(const Model& model) {
  NamedTensors tensors;
  for (const PublishedTensor& tensor : model.parameters().published()) {
    tensors.emplace_back(tensor.name, tensor.read(model.stream()));
  }
  return tensors;
}

NamedTensors published_weights(const Model& model, bool trainable) {
  NamedTensors tensors;
  for (const PublishedTensor& tensor : model.parameters().published()) {
    if (tensor.trainable == trainable) tensors.emplace_back(tensor.name, tensor.read(model.stream()));
  }
  return tensors;
}

void export_model(const Model& model, const std::string& tokenizer, const std::string& folder) {
  make_folder(folder, [&](const std::string& partial) {
    const fs::path at(partial);
    write_safetensors((at / "model.safetensors").string(), published_weights(model), {{"format", "pt"}});
    write_model_config(partial, model.config(), format_model_config(model.config(), model.dtype()));
    if (tokenizer.empty()) return;
    copy_side_files(fs::is_directory(tokenizer) ? tokenizer : fs::path(tokenizer).parent_path().string(), partial);
  });
}

}  // namespace wt
