#include "train/models/weight_map.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/json.h"
#include "core/text.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

// Buffers that some exporters leave in a file and that are no parameters.
bool is_buffer(const std::string& name) {
  for (const std::string_view end : {".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias"}) {
    if (name.ends_with(end)) return true;
  }
  return false;
}

void erase_all(std::string& name, std::string_view part) {
  for (auto at = name.find(part); at != std::string::npos; at = name.find(part)) name.erase(at, part.size());
}

// The embedding table of a tied model, which is its head as well.
bool is_tied_head(const ModelConfig& config, const std::string& published) {
  return config.tie_word_embeddings && published.ends_with("lm_head.weight");
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
  for (const std::string_view part : {"base_model.model.", ".base_layer", ".modules_to_save.default"}) {
    erase_all(name, part);
  }
  const bool gpt2 = config.type == BackboneType::kGPT2;
  const std::string inner = gpt2 ? "transformer." : "model.";
  if (constexpr std::string_view kOther = "memory_cell.layers."; name.starts_with(kOther)) {
    return "memory_cell.model." + inner + (gpt2 ? "h." : "layers.") + name.substr(kOther.size());
  }
  // The hub's GPT-2 files begin below `transformer.`.
  if (gpt2) {
    for (const std::string_view top : {"wte.", "wpe.", "h.", "ln_f."}) {
      if (name.starts_with(top)) return inner + name;
    }
  }
  return name;
}

std::string backbone_name(std::string published) {
  if (constexpr std::string_view kOuter = "memory_cell.model."; published.starts_with(kOuter)) {
    published = published.substr(kOuter.size());
  }
  if (const auto at = published.find(".layer."); at != std::string::npos) published.erase(at, 6);
  return published;
}

bool is_memory_parameter(const std::string& published) {
  return published.starts_with("memory_cell.memory") || published.find(".W_m") != std::string::npos;
}

WeightMap::WeightMap(const ModelConfig& config, const std::string& path,
                     const std::function<bool(const std::string&)>& skip, const std::string& more)
    : config_(config), path_(path), files_(open_weights(path)) {
  if (!more.empty()) {
    for (SafetensorsFile& file : open_weights(more)) files_.push_back(std::move(file));
  }
  for (const SafetensorsFile& file : files_) {
    for (const std::string& name : file.names()) {
      if (is_buffer(name) || (skip && skip(name))) continue;
      if (name.find(".lora_") != std::string::npos) {
        throw Error(cat(file.path(), ": holds LoRA adapters (", name, "); merge them first: wavetape convert"));
      }
      const auto [place, fresh] = places_.emplace(published_name(config, name), Place{&file, name});
      const Place& other = place->second;
      WT_CHECK(fresh || other.file->stored(other.name).bytes == file.stored(name).bytes, file.path(), ": ", other.name,
               " and ", name, " are one parameter, but differ");
    }
  }
}

const WeightMap::Place* WeightMap::find(const std::string& published, bool unwrapped) {
  std::vector<std::string> names{published};
  if (unwrapped) names.push_back(backbone_name(published));
  // Savers that keep one name of each tensor keep the first in the alphabet: a tied model's table is lm_head then.
  for (const char* table : {"model.embed_tokens.weight", "transformer.wte.weight"}) {
    if (!config_.tie_word_embeddings || !published.ends_with(table)) continue;
    for (std::size_t i = 0, n = names.size(); i < n; ++i) {
      const std::string& name = names[i];
      names.push_back(name.substr(0, name.size() - std::string_view(table).size()) + "lm_head.weight");
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
    if (used_.count(published) > 0 || is_tied_head(config_, published)) continue;
    throw Error(cat(place.file->path(), ": tensor ", place.name, " is not part of this ", name_of(config_.type),
                    config_.has_memory() ? " with memory" : "", "; check config.json"));
  }
}

}  // namespace wt
