#include "train/models/model_location.h"

#include <filesystem>

#include "core/error.h"
#include "train/models/lora.h"
#include "train/models/model_folder.h"
#include "train/run/checkpoint.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAdapterConfig = "adapter_config.json";

// model.safetensors or its index; "" where there is neither.
std::string weights_in(const fs::path& folder) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"}) {
    if (fs::exists(folder / name)) return (folder / name).string();
  }
  return "";
}

ModelLocation find_plain_model(const std::string& path) {
  const fs::path folder(path);
  if (!fs::exists(folder / "config.json")) {
    throw UsageError(cat(path, ": no config.json and no checkpoints; expected a model or run folder"));
  }
  if (const std::string weights = weights_in(folder); !weights.empty()) {
    return {(folder / "config.json").string(), weights, tokenizer_in(folder.string())};
  }
  throw UsageError(cat(path, ": no model.safetensors beside config.json",
                       fs::exists(folder / "pytorch_model.bin") || fs::exists(folder / "pytorch_model.bin.index.json")
                           ? "; save pytorch_model.bin as safetensors from Python first"
                           : ""));
}

// The folder of the model that the adapters were trained on.
std::string base_folder(const fs::path& adapters, const std::string& given) {
  const std::string usage = cat("wavetape convert ", adapters.string(), " OUT_DIR --base DIR");
  if (!given.empty()) {
    if (!fs::is_directory(given)) throw UsageError(cat(given, ": no such folder; expected the adapters' base model"));
    return given;
  }
  if (!weights_in(adapters).empty()) return adapters.string();
  const std::string named = read_adapter_config((adapters / kAdapterConfig).string()).base;
  // As PEFT has it, from where the program runs; or beside the adapters.
  for (const fs::path& candidate : {fs::path(named), adapters / named}) {
    if (!named.empty() && fs::is_directory(candidate)) return candidate.string();
  }
  throw UsageError(cat(adapters.string(), ": adapters for ",
                       named.empty() ? "a base model that it does not name" : cat("the base model '", named, "'"),
                       named.empty() ? "" : ", which is no folder here", "; say where it is: ", usage));
}

ModelLocation find_adapted_model(const fs::path& folder, const std::string& adapter_base) {
  if (!fs::exists(folder / "adapter_model.safetensors")) {
    throw UsageError(cat(
        folder.string(), ": no adapter_model.safetensors beside ", kAdapterConfig,
        fs::exists(folder / "adapter_model.bin") ? "; save adapter_model.bin as safetensors from Python first" : ""));
  }
  const std::string base = base_folder(folder, adapter_base);
  if (!fs::equivalent(base, folder) && (is_adapter_folder(base) || fs::is_directory(fs::path(base) / "checkpoints"))) {
    throw UsageError(cat(base, ": expected the adapters' base model, a folder with config.json and model.safetensors; ",
                         "convert or export it first"));
  }
  ModelLocation location = find_plain_model(base);
  location.adapter = (folder / "adapter_model.safetensors").string();
  // Ours has that of the model around the adapters, its memory included.
  if (fs::exists(folder / "config.json")) location.config = (folder / "config.json").string();
  if (const std::string own = tokenizer_in(folder.string()); !own.empty()) location.tokenizer = own;
  return location;
}

}  // namespace

std::string tokenizer_in(const std::string& folder) {
  const fs::path at(folder);
  if (fs::exists(at / "tokenizer.json")) return (at / "tokenizer.json").string();
  return fs::exists(at / "vocab.json") && fs::exists(at / "merges.txt") ? folder : std::string();
}

bool is_adapter_folder(const std::string& path) {
  const fs::path folder(path);
  // Beside weights that hold their adapters themselves, the config alone gives the scale.
  return fs::exists(folder / kAdapterConfig) &&
         (fs::exists(folder / "adapter_model.safetensors") || weights_in(folder).empty());
}

ModelLocation find_model(const std::string& path, const std::function<void(const std::string&)>& report,
                         const std::string& adapter_base) {
  const fs::path folder(path);
  if (!fs::is_directory(folder)) throw UsageError(cat(path, ": no such folder; expected a model or run folder"));
  if (is_adapter_folder(path)) return find_adapted_model(folder, adapter_base);
  if (!adapter_base.empty()) {
    throw UsageError(cat("--base ", adapter_base, ": ", path, " is no folder of adapters (no ", kAdapterConfig, ")"));
  }
  if (fs::is_directory(folder / "checkpoints")) {
    const CheckpointStore store(path, StoreMode::kRead);
    const auto best = store.load_best(report ? report : [](const std::string&) {});
    if (!best) throw UsageError(cat(path, ": the run has no checkpoint yet"));
    return {(folder / "config.json").string(), best->weights.path(), tokenizer_in(folder.string()), store.base()};
  }
  return find_plain_model(path);
}

void copy_side_files_of(const ModelLocation& location, const std::string& to) {
  copy_side_files(fs::absolute(location.weights).parent_path().string(), to);
  if (!location.adapter.empty()) copy_side_files(fs::path(location.adapter).parent_path().string(), to);
}

}  // namespace wt
