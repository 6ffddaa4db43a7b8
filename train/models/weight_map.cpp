#include "train/models/weight_map.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/json.h"
#include "core/text.h"
#include "layers/families/family.h"
#include "train/models/lora.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

// Buffers that some exporters leave in a file and that are no parameters: rotary frequencies, GPT-2's causal mask
// (1, 1, n, n) and the number that it masks with.
bool is_buffer(const SafetensorsFile& file, const std::string& name) {
  const Shape& shape = file.shape(name);
  return name.ends_with("rotary_emb.inv_freq") || (name.ends_with(".attn.bias") && shape.rank() == 4) ||
         (name.ends_with(".attn.masked_bias") && shape.numel() == 1);
}

void erase_all(std::string& name, std::string_view part) {
  for (auto at = name.find(part); at != std::string::npos; at = name.find(part)) name.erase(at, part.size());
}

constexpr std::string_view kOuter = "memory_cell.model.";
constexpr std::string_view kHead = "lm_head.weight";

// Those of a wrapped model and of a plain one.
std::vector<std::string> names_of(std::string_view plain) {
  return {cat(kOuter, plain), std::string(plain)};
}
std::vector<std::string> head_names() {
  return names_of(kHead);
}
std::vector<std::string> table_names(const ModelConfig& config) {
  return names_of(table_name(config));
}

bool is_one_of(const std::string& name, const std::vector<std::string>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Whether two tensors hold the same numbers.
bool are_equal(const WeightMap::Place& a, const WeightMap::Place& b) {
  if (a.shape() != b.shape()) return false;
  if (a.file->stored_dtype(a.name) == b.file->stored_dtype(b.name)) {
    return a.file->stored(a.name).bytes == b.file->stored(b.name).bytes;
  }
  const auto wide = [](const WeightMap::Place& place) {
    return place.file->tensor(place.name).to(Stream{}, DType::kF64);
  };
  const Tensor left = wide(a), right = wide(b);
  return std::equal(left.data<double>(), left.data<double>() + left.numel(), right.data<double>());
}

}  // namespace

std::vector<SafetensorsFile> open_weights(const std::string& path) {
  if (!path.ends_with(".json")) return {SafetensorsFile::open(path)};
  std::set<std::string> parts;
  const nlohmann::json index = parse_json(read_file(path), path);
  try {
    for (const auto& [name, file] : index.at("weight_map").items()) parts.insert(file.get<std::string>());
  } catch (const nlohmann::json::exception&) {
    throw Error(cat(path, ": expected a JSON object {\"weight_map\": {name: file}}"));
  }
  std::vector<SafetensorsFile> files;
  for (const std::string& part : parts) {
    WT_CHECK(part.find('/') == std::string::npos, path, ": weight_map names the file '", part,
             "', expected one beside the index");
    files.push_back(SafetensorsFile::open((fs::path(path).parent_path() / part).string()));
  }
  WT_CHECK(!files.empty(), path, ": weight_map names no file");
  return files;
}

std::string published_name(const ModelConfig& config, const std::string& stored) {
  std::string name = stored;
  if (constexpr std::string_view kParallel = "module."; name.starts_with(kParallel)) name.erase(0, kParallel.size());
  for (const std::string_view part : {"_orig_mod.", "base_model.model.", ".base_layer", ".modules_to_save.default"}) {
    erase_all(name, part);
  }
  if (constexpr std::string_view kOther = "memory_cell.layers."; name.starts_with(kOther)) {
    return cat(kOuter, layers_prefix(config), name.substr(kOther.size()));
  }
  for (const Family::Key& other : family_of(config).tensor_names) {
    if (name.starts_with(other.theirs)) name.replace(0, other.theirs.size(), other.ours);
  }
  const ModelNames& names = config.names;
  for (const std::string& top : {names.tokens + ".", names.layer.substr(0, names.layer.find("{l}")), names.norm + ".",
                                 config.has_positions() ? names.positions + "." : names.norm + "."}) {
    if (name.starts_with(top)) return names.base + name;
  }
  return name;
}

std::string table_name(const ModelConfig& config) {
  return config.names.base + config.names.tokens + ".weight";
}

std::string layers_prefix(const ModelConfig& config) {
  return config.names.base + config.names.layer.substr(0, config.names.layer.find("{l}"));
}

std::string backbone_name(std::string published) {
  if (published.starts_with(kOuter)) published = published.substr(kOuter.size());
  if (const auto at = published.find(".layer."); at != std::string::npos) published.erase(at, 6);
  return published;
}

WeightMap::WeightMap(const ModelConfig& config, const ModelLocation& location, bool ties_saved)
    : config_(config), path_(location.weights), files_(open_weights(location.weights)) {
  if (!location.base.empty()) {
    for (SafetensorsFile& file : open_weights(location.base)) files_.push_back(std::move(file));
  }
  const std::size_t own = files_.size();
  if (!location.adapter.empty()) {
    files_.push_back(SafetensorsFile::open(location.adapter));
    WT_CHECK(!files_.back().names().empty(), location.adapter, ": holds no tensors, expected adapters");
  }
  for (std::size_t i = 0; i < own; ++i) add(files_[i]);
  for (std::size_t i = own; i < files_.size(); ++i) add_saved(files_[i], ties_saved);
  const Place *head = first_of(head_names()), *table = first_of(table_names(config_));
  own_head_ = config.tie_word_embeddings && head != nullptr && table != nullptr && !are_equal(*head, *table);
}

void WeightMap::add(const SafetensorsFile& file) {
  for (const std::string& name : file.names()) {
    if (is_buffer(file, name)) {
      ignored_.push_back(name);
      continue;
    }
    if (is_adapter_tensor(name)) {
      // What a module was before it was trained as a whole.
      constexpr std::string_view kOriginal = ".original_module.";
      const auto at = name.find(kOriginal);
      if (at == std::string::npos) continue;
      const std::string saved = std::string(name).replace(at, kOriginal.size(), ".modules_to_save.default.");
      WT_CHECK(file.contains(saved), file.path(), ": tensor ", name, " is there without ", saved,
               ", which was trained in its place");
      continue;
    }
    const auto [place, fresh] = places_.emplace(published_name(config_, name), Place{&file, name});
    const Place& other = place->second;
    WT_CHECK(fresh || other.file->stored(other.name).bytes == file.stored(name).bytes, file.path(), ": ", other.name,
             " and ", name, " are one parameter, but differ");
  }
}

void WeightMap::add_saved(const SafetensorsFile& file, bool ties_saved) {
  const Place* const table = first_of(table_names(config_));
  const Place old_table = table != nullptr ? *table : Place{};
  bool table_saved = false, head_saved = false;
  for (const std::string& name : file.names()) {
    if (is_adapter_tensor(name)) continue;
    const std::string published = published_name(config_, name);
    places_.erase(backbone_name(published));  // of a base without the memory
    places_[published] = {&file, name};
    table_saved |= is_one_of(published, table_names(config_));
    head_saved |= is_one_of(published, head_names());
  }
  if (!config_.tie_word_embeddings || !table_saved || head_saved) return;
  // The library ties nothing anew when it puts a trained table in: the head stays what it was.
  for (const std::string& head : head_names()) {
    if (ties_saved) {
      places_.erase(head);
    } else if (old_table.file != nullptr && first_of(head_names()) == nullptr) {
      places_[std::string(kHead)] = old_table;
    }
  }
}

const WeightMap::Place* WeightMap::first_of(const std::vector<std::string>& names) const {
  for (const std::string& name : names) {
    if (const auto found = places_.find(name); found != places_.end()) return &found->second;
  }
  return nullptr;
}

const WeightMap::Place* WeightMap::find(const std::string& published, bool unwrapped) {
  std::vector<std::string> names{published};
  if (unwrapped) names.push_back(backbone_name(published));
  if (config_.tie_word_embeddings) {
    // Savers that keep one name of each tensor keep the first in the alphabet: a tied model's table is lm_head then.
    const bool is_table = is_one_of(published, table_names(config_));
    if (is_table || is_one_of(published, head_names())) {
      for (const std::string& name : is_table ? head_names() : table_names(config_)) names.push_back(name);
    }
  }
  for (const std::string& name : names) {
    const auto found = places_.find(name);
    if (found == places_.end()) continue;
    used_.insert(name);
    return &found->second;
  }
  return nullptr;
}

const WeightMap::Place& WeightMap::require(const std::string& published, bool unwrapped) {
  const Place* place = find(published, unwrapped);
  if (place != nullptr) return *place;
  std::vector<std::string> names;
  for (const auto& [name, where] : places_) names.push_back(name);
  throw Error(cat(path_, ": tensor ", unwrapped ? backbone_name(published) : published, " is missing",
                  did_you_mean(published, names)));
}

void WeightMap::check_all_used() const {
  for (const auto& [published, place] : places_) {
    if (used_.count(published) > 0) continue;
    if (config_.tie_word_embeddings && !own_head_ && is_one_of(published, head_names())) continue;
    throw Error(cat(place.file->path(), ": tensor ", place.name, " is not part of this ", config_.family,
                    config_.has_memory() ? " with memory" : "", "; check config.json"));
  }
}

}  // namespace wt
