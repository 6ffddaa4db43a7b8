#include "train/models/convert.h"

#include <filesystem>

#include "core/files.h"
#include "layers/model.h"
#include "train/models/import.h"
#include "train/models/model_config_json.h"
#include "train/models/model_folder.h"
#include "train/models/weight_map.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

// The files of a source: its folder, its weights, its config.json or "".
struct Source {
  std::string folder, weights, config;
};

Source find_source(const std::string& path, const std::string& config) {
  Source source;
  if (fs::is_directory(path)) {
    source.folder = path;
    for (const char* name : {"model.safetensors", "model.safetensors.index.json"}) {
      if (source.weights.empty() && fs::exists(fs::path(path) / name))
        source.weights = (fs::path(path) / name).string();
    }
    if (source.weights.empty()) {
      throw UsageError(cat(path,
                           ": no model.safetensors there; name the .safetensors file, or save pytorch_model.bin "
                           "as safetensors from Python first"));
    }
  } else {
    if (!fs::exists(path)) throw UsageError(cat(path, ": no such file or folder"));
    source.folder = fs::absolute(path).parent_path().string();
    source.weights = path;
  }
  const fs::path own = fs::path(source.folder) / "config.json";
  source.config = !config.empty() ? config : fs::exists(own) ? own.string() : "";
  if (source.config.empty()) {
    throw UsageError(cat(source.folder, ": no config.json there; give the backbone's with --config"));
  }
  return source;
}

// Shape of the first tensor that is called so, whatever stands before and behind.
Shape shape_of(const std::vector<SafetensorsFile>& files, const std::string& part) {
  for (const SafetensorsFile& file : files) {
    for (const std::string& name : file.names()) {
      if (name.find(part) != std::string::npos && file.shape(name).rank() == 2) return file.shape(name);
    }
  }
  throw Error(cat(files.front().path(), ": no tensor ", part, ", expected a checkpoint of ARMT"));
}

// The text of the config with its armt object: the source's own, or one made of the options and the weights' shapes.
std::string config_text(const Source& source, const ConvertOptions& options) {
  const std::string text = read_file(source.config);
  if (parse_model_config(text, source.config).has_memory()) {
    if (options.segment_size > 0) throw UsageError(cat("--segment-size: ", source.config, " has its memory object"));
    return text;
  }
  if (options.segment_size == 0) {
    throw UsageError(cat(source.config, ": no armt object; give --segment-size (and --nu, --no-correction)"));
  }
  const std::vector<SafetensorsFile> files = open_weights(source.weights);
  ArmtConfig armt;
  armt.segment_size = options.segment_size;
  armt.num_mem_tokens = shape_of(files, "memory_cell.memory")[0];
  armt.d_mem = shape_of(files, ".W_mq.weight")[0];
  armt.nu = options.nu;
  armt.correction = options.correction;
  armt.segment_alignment = options.alignment;
  return with_armt(text, source.config, armt);
}

// The names to write a tensor under.
std::vector<std::string> names_of(const ModelConfig& config, const std::string& published, WeightNames names) {
  const bool gpt2 = config.type == BackboneType::kGPT2;
  const std::string outer = "memory_cell.model.";
  const std::string layers = outer + (gpt2 ? "transformer.h." : "model.layers.");
  std::vector<std::string> out;
  const bool layer = published.starts_with(layers);
  if (names != WeightNames::kLayers || !layer) out.push_back(published);
  if (names != WeightNames::kModel && layer) out.push_back("memory_cell.layers." + published.substr(layers.size()));
  const std::string table = outer + (gpt2 ? "transformer.wte.weight" : "model.embed_tokens.weight");
  if (names == WeightNames::kBoth && config.tie_word_embeddings && published == table) {
    out.push_back(outer + "lm_head.weight");
  }
  return out;
}

}  // namespace

ConvertReport convert_model(const std::string& source_path, const ConvertOptions& options, const std::string& target) {
  const Source source = find_source(source_path, options.config);
  const std::string text = config_text(source, options);
  const ModelConfig config = parse_model_config(text, source.config);
  WeightMap map(config, source.weights, is_adapter_tensor);
  Adapters adapters(config, map.files());
  LoraScale scale = options.lora;
  const fs::path adapter_config = fs::path(source.folder) / "adapter_config.json";
  if (adapters.size() > 0 && !scale.alpha && fs::exists(adapter_config)) {
    scale = read_adapter_config(adapter_config.string());
  }

  ConvertReport report;
  report.merged = static_cast<std::int64_t>(adapters.size());
  std::vector<StoredTensor> tensors;
  const Model names(config, DType::kF32, {}, WeightUse::kNamesOnly);
  for (const PublishedSpec& spec : names.parameters().published_specs()) {
    const WeightMap::Place& place = map.require(spec.name, false);
    const StoredTensor stored = place.file->stored(place.name);
    WT_CHECK(stored.shape == spec.shape, place.file->path(), ": tensor ", place.name, " is ", stored.shape,
             ", the config expects ", spec.shape);
    const StoredTensor tensor = adapters.merged(stored, spec.name, *place.file, place.name, scale);
    if (report.dtype.empty() && !is_memory_parameter(spec.name)) report.dtype = tensor.dtype;
    for (const std::string& name : names_of(config, spec.name, options.names)) {
      tensors.push_back(tensor);
      tensors.back().name = name;
    }
  }
  map.check_all_used();
  adapters.check_all_used();
  report.tensors = static_cast<std::int64_t>(tensors.size());

  make_folder(target, [&](const std::string& partial) {
    write_stored_tensors((fs::path(partial) / "model.safetensors").string(), tensors, {{"format", "pt"}});
    write_file((fs::path(partial) / "config.json").string(), text);
    copy_side_files(source.folder, partial);
  });
  return report;
}

}  // namespace wt
