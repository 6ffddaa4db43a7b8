#include "train/model_io.h"

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/files.h"
#include "core/text.h"
#include "train/checkpoint.h"
#include "train/model_config_json.h"

namespace wt {
namespace fs = std::filesystem;
namespace {

bool starts_with(const std::string& text, std::string_view prefix) {
  return text.rfind(prefix, 0) == 0;
}

// The name we use for a tensor of a file: the same, or that of its other path.
std::string canonical_name(const ModelConfig& config, const std::string& name) {
  const bool gpt2 = config.type == BackboneType::kGPT2;
  const std::string inner = gpt2 ? "transformer." : "model.";
  if (constexpr std::string_view kOther = "memory_cell.layers."; starts_with(name, kOther)) {
    return "memory_cell.model." + inner + (gpt2 ? "h." : "layers.") + name.substr(kOther.size());
  }
  // The hub's GPT-2 files begin below `transformer.`.
  if (gpt2 && !config.has_armt) {
    for (const std::string_view top : {"wte.", "wpe.", "h.", "ln_f."}) {
      if (starts_with(name, top)) return inner + name;
    }
  }
  return name;
}

// Buffers that some exporters leave in a file and that are no parameters.
bool is_buffer(const std::string& name) {
  for (const std::string_view end : {".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias"}) {
    if (name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0) return true;
  }
  return false;
}

// All files that hold the weights: the one, or the parts an index names.
std::vector<SafetensorsFile> open_weights(const std::string& path) {
  if (path.size() < 5 || path.compare(path.size() - 5, 5, ".json") != 0) return {SafetensorsFile::open(path)};
  std::set<std::string> parts;
  try {
    const auto index = nlohmann::json::parse(read_file(path));
    for (const auto& [name, file] : index.at("weight_map").items()) parts.insert(file.get<std::string>());
  } catch (const nlohmann::json::exception& error) {
    throw Error(cat(path, ": expected {\"weight_map\": {name: file}}: ", error.what()));
  }
  std::vector<SafetensorsFile> files;
  for (const std::string& part : parts) {
    WT_CHECK(part.find('/') == std::string::npos, path, ": weight_map names the file '", part,
             "', expected one beside the index");
    files.push_back(SafetensorsFile::open((fs::path(path).parent_path() / part).string()));
  }
  return files;
}

}  // namespace

ModelLocation find_model(const std::string& path, const std::function<void(const std::string&)>& report) {
  const fs::path folder(path);
  if (!fs::is_directory(folder)) throw UsageError(cat(path, ": no such folder; expected a model or run folder"));
  const auto tokenizer_in = [](const fs::path& at) {
    if (fs::exists(at / "tokenizer.json")) return (at / "tokenizer.json").string();
    return fs::exists(at / "vocab.json") && fs::exists(at / "merges.txt") ? at.string() : std::string();
  };
  if (fs::is_directory(folder / "checkpoints")) {
    const CheckpointStore store(path, StoreMode::kRead);
    const auto best = store.load_best(report ? report : [](const std::string&) {});
    if (!best) throw UsageError(cat(path, ": the run has no checkpoint yet"));
    return {(folder / "config.json").string(), best->weights.path(), tokenizer_in(folder)};
  }
  if (!fs::exists(folder / "config.json")) {
    throw UsageError(cat(path, ": no config.json and no checkpoints; expected a model or run folder"));
  }
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"}) {
    if (fs::exists(folder / name)) {
      return {(folder / "config.json").string(), (folder / name).string(), tokenizer_in(folder)};
    }
  }
  throw UsageError(cat(path, ": no model.safetensors beside config.json"));
}

Device device_for(const std::string& name, DType dtype) {
  return name == "auto" && dtype == DType::kF64 ? Device{} : device_from_name(name);
}

DType computing_dtype(const Device& device, DType dtype) {
  return device.is_cpu() && dtype == DType::kBF16 ? DType::kF32 : dtype;
}

std::unique_ptr<Model> load_model(const ModelLocation& location, DType dtype, const Stream& stream, WeightUse use) {
  if (stream.device().is_cuda() && dtype == DType::kF64) {
    throw UsageError("f64 runs on the CPU only: choose f32 or bf16, or --device cpu");
  }
  const DType computing = computing_dtype(stream.device(), dtype);
  auto model = std::make_unique<Model>(read_model_config(location.config), computing, stream, use);
  load_weights(*model, location.weights);
  if (computing != dtype) {  // the weights that bf16 would have
    for (const auto& parameter : model->parameters().all()) {
      parameter->value().copy_from(stream, parameter->value().to(stream, DType::kBF16).to(stream, DType::kF32));
    }
  }
  return model;
}

void load_weights(Model& model, const std::string& weights, bool fresh_memory) {
  const ModelConfig& config = model.config();
  const std::vector<SafetensorsFile> files = open_weights(weights);
  std::map<std::string, std::pair<const SafetensorsFile*, std::string>> found;
  for (const SafetensorsFile& file : files) {
    for (const std::string& name : file.names()) {
      if (!is_buffer(name)) found.emplace(canonical_name(config, name), std::pair(&file, name));
    }
  }
  // Wrapping a plain backbone: its names are those of the wrapped one without the wrapper's parts.
  const auto plain_name = [](std::string name) {
    if (constexpr std::string_view kOuter = "memory_cell.model."; starts_with(name, kOuter)) {
      name = name.substr(kOuter.size());
    }
    if (const auto at = name.find(".layer."); at != std::string::npos) name.erase(at, 6);
    return name;
  };
  std::set<std::string> used;
  for (const PublishedTensor& tensor : model.parameters().published()) {
    auto it = found.find(tensor.name);
    if (it == found.end() && fresh_memory) it = found.find(plain_name(tensor.name));
    if (it == found.end() && fresh_memory &&
        (starts_with(tensor.name, "memory_cell.memory") || tensor.name.find(".W_m") != std::string::npos)) {
      continue;
    }
    WT_CHECK(it != found.end(), weights, ": tensor ", tensor.name, " is missing",
             found.empty() ? "" : did_you_mean(tensor.name, files.front().names()));
    const auto& [file, name] = it->second;
    used.insert(it->first);
    // GPT-2's position table grows by the memory's rows when a plain one is wrapped.
    const bool grown = fresh_memory && file->shape(name).rank() == 2 && tensor.value.shape().rank() == 2 &&
                       name.find("wpe") != std::string::npos && file->shape(name)[0] < tensor.value.dim(0);
    const PublishedTensor target = grown ? tensor.slice(0, file->shape(name)[0]) : tensor;
    WT_CHECK(file->shape(name) == target.value.shape(), file->path(), ": tensor ", name, " is ", file->shape(name),
             ", the model expects ", target.value.shape());
    target.write(model.stream(), file->tensor(name));
  }
  for (const auto& [canonical, place] : found) {
    if (used.count(canonical) > 0 ||
        (config.tie_word_embeddings && canonical.find("lm_head.weight") != std::string::npos)) {
      continue;
    }
    throw Error(cat(place.first->path(), ": tensor ", place.second, " is not part of this ", name_of(config.type),
                    config.has_armt ? " with memory" : "", "; check config.json"));
  }
}

NamedTensors published_weights(const Model& model) {
  NamedTensors tensors;
  for (const PublishedTensor& tensor : model.parameters().published()) {
    tensors.emplace_back(tensor.name, tensor.read(model.stream()));
  }
  return tensors;
}

void export_model(const Model& model, const std::string& tokenizer, const std::string& folder) {
  const fs::path target(folder);
  if (fs::exists(target)) throw UsageError(cat(folder, ": exists already; name a new folder"));
  const fs::path temporary = fs::path(folder + ".partial");
  std::error_code error;
  fs::remove_all(temporary, error);
  if (!fs::create_directories(temporary, error)) throw Error(cat(temporary.string(), ": ", error.message()));
  try {
    write_safetensors((temporary / "model.safetensors").string(), published_weights(model), {{"format", "pt"}});
    write_file((temporary / "config.json").string(), format_model_config(model.config(), model.dtype()));
    if (!tokenizer.empty()) {
      for (const char* name : {"tokenizer.json", "vocab.json", "merges.txt"}) {
        const fs::path source = fs::is_directory(tokenizer) ? fs::path(tokenizer) / name : fs::path(tokenizer);
        if (!fs::exists(source) || source.filename() != name) continue;
        write_file((temporary / name).string(), read_file(source.string()));
      }
    }
    fs::rename(temporary, target);
  } catch (...) {
    fs::remove_all(temporary, error);
    throw;
  }
}

}  // namespace wt
