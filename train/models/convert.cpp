#include "train/models/convert.h"

#include <filesystem>

#include "core/files.h"
#include "layers/model.h"
#include "train/models/memory_config.h"
#include "train/models/model_config_json.h"
#include "train/models/model_folder.h"
#include "train/models/model_source.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

ModelLocation find_source(const std::string& path, const ConvertOptions& options) {
  ModelLocation source;
  if (fs::is_directory(path) && (is_adapter_folder(path) || !options.adapter_base.empty())) {
    source = find_model(path, {}, options.adapter_base);
  } else if (fs::is_directory(path)) {
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
    source.weights = path;
  }
  const fs::path folder = fs::absolute(source.weights).parent_path();
  if (!options.config.empty()) source.config = options.config;
  if (source.config.empty() && fs::exists(folder / "config.json")) source.config = (folder / "config.json").string();
  if (source.config.empty()) {
    throw UsageError(cat(folder.string(), ": no config.json there; give the backbone's with --config"));
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

// The text of the config with its armt object: the source's own, or one made of the options and the weights' shapes. A
// source without any memory stays a plain backbone.
std::string config_text(const ModelLocation& source, const ConvertOptions& options) {
  const std::string text = read_file(source.config);
  const ModelConfig backbone = parse_model_config(text, source.config);
  if (backbone.has_memory()) {
    if (options.segment_size > 0) throw UsageError(cat("--segment-size: ", source.config, " has its memory object"));
    return text;
  }
  const std::vector<SafetensorsFile> files = open_weights(source.weights);
  if (options.segment_size == 0) {
    for (const SafetensorsFile& file : files) {
      for (const std::string& name : file.names()) {
        if (name.find("memory_cell.") == std::string::npos) continue;
        throw UsageError(cat(source.config, ": no armt object; give --segment-size (and --nu, --no-correction)"));
      }
    }
    return text;
  }
  ArmtConfig armt;
  armt.segment_size = options.segment_size;
  armt.num_mem_tokens = shape_of(files, "memory_cell.memory")[0];
  armt.d_mem = shape_of(files, ".W_mq.weight")[0];
  armt.nu = options.nu;
  armt.correction = options.correction;
  armt.segment_alignment = options.alignment;
  ModelConfig wrapped = backbone;
  wrapped.armt = armt;
  return updated_config(text, source.config, wrapped);
}

// The names to write a tensor under.
std::vector<std::string> names_of(const ModelConfig& config, const std::string& published, WeightNames names) {
  const std::string outer = "memory_cell.model.", layers = outer + layers_prefix(config);
  std::vector<std::string> out;
  const bool layer = published.starts_with(layers);
  if (names != WeightNames::kLayers || !layer) out.push_back(published);
  if (names != WeightNames::kModel && layer) out.push_back("memory_cell.layers." + published.substr(layers.size()));
  if (names == WeightNames::kBoth && config.tie_word_embeddings && published == outer + table_name(config)) {
    out.push_back(outer + "lm_head.weight");
  }
  return out;
}

}  // namespace

ConvertReport convert_model(const std::string& source_path, const ConvertOptions& options, const std::string& target) {
  const ModelLocation location = find_source(source_path, options);
  const std::string text = config_text(location, options);
  ModelSource source = open_source(location, parse_model_config(text, location.config), options.lora);
  const ModelConfig& config = source.config;
  if (!config.armt && options.names != WeightNames::kModel) {
    throw UsageError(cat("--names: ", location.config, " is no ARMT, whose layers alone have other names"));
  }

  ConvertReport report;
  report.merged = static_cast<std::int64_t>(source.adapters.size());
  std::vector<StoredTensor> tensors;
  const Model names(config, DType::kF32, {}, WeightUse::kNamesOnly);
  for (const PublishedSpec& spec : names.parameters().published_specs()) {
    // The memory may be the adapter's, around a plain base.
    const WeightMap::Place& place = source.map.require(spec.name, !location.adapter.empty());
    WT_CHECK(place.shape() == spec.shape, place.file->path(), ": tensor ", place.name, " is ", place.shape(),
             ", the config expects ", spec.shape);
    const StoredTensor tensor = source.stored(place, spec.name);
    if (report.dtype.empty() && spec.parameter->role != Role::kMemory) report.dtype = tensor.dtype;
    for (const std::string& name : names_of(config, spec.name, options.names)) {
      tensors.push_back(tensor);
      tensors.back().name = name;
    }
  }
  source.finish();
  report.tensors = static_cast<std::int64_t>(tensors.size());

  make_folder(target, [&](const std::string& partial) {
    write_stored_tensors((fs::path(partial) / "model.safetensors").string(), tensors, {{"format", "pt"}});
    if (options.names == WeightNames::kModel) {
      write_model_config(partial, config, updated_config(text, location.config, config));
    } else {  // the published code makes its backbone of it
      write_file((fs::path(partial) / "config.json").string(),
                 updated_config(text, location.config, config, ConfigForm::kBackbone));
    }
    copy_side_files_of(location, partial);
  });
  return report;
}

}  // namespace wt
