// The tensors of a checkpoint, found under any of the names that published files give them.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "layers/model_config.h"
#include "train/models/model_location.h"

namespace wt {

// All files that hold the weights: the .safetensors itself, or the parts that a model.safetensors.index.json names.
std::vector<SafetensorsFile> open_weights(const std::string& path);

// The name that we publish a tensor under, from any of these: our own, the wrapper's other path
// (`memory_cell.layers.{l}.…`), those of a backbone without its head (no `model.` or `transformer.` in front, as the
// hub's GPT-2), and those that PEFT (`base_model.model.` within, `.base_layer`, `.modules_to_save.default`),
// torch.compile (`_orig_mod.`) and data parallelism (`module.` in front) make of each.
std::string published_name(const ModelConfig& config, const std::string& stored);
// The name that a plain backbone has for a tensor of the wrapped model.
std::string backbone_name(std::string published);
// The table of tokens of a plain backbone: "model.embed_tokens.weight".
std::string table_name(const ModelConfig& config);
// What stands in front of a layer's number there: "model.layers.".
std::string layers_prefix(const ModelConfig& config);

class WeightMap {
 public:
  // Where a tensor stands.
  struct Place {
    const SafetensorsFile* file = nullptr;
    std::string name;
    const Shape& shape() const { return file->shape(name); }
  };

  // Opens the files; `config` is that of the files, as config.json says it. Tensors of low-rank adapters are left to
  // lora.h; what an adapter folder holds beside them (modules_to_save) counts in place of the base's. `ties_saved`: a
  // saved table is the head as well (PEFT's ensure_weight_tying). Throws Error where two tensors of one file are the
  // same parameter with different bytes.
  WeightMap(const ModelConfig& config, const ModelLocation& location, bool ties_saved = false);
  WeightMap(WeightMap&&) = default;
  WeightMap(const WeightMap&) = delete;
  WeightMap& operator=(const WeightMap&) = delete;

  const std::vector<SafetensorsFile>& files() const { return files_; }
  // Of a config that ties the head to the table of tokens: whether the files have a head that is another one.
  bool has_own_head() const { return own_head_; }
  // Buffers that were left out because the configuration says the same: rotary frequencies, causal masks.
  const std::vector<std::string>& ignored() const { return ignored_; }
  // The place of a published tensor; null where there is none. `unwrapped`: also under the plain backbone's name. Where
  // the config ties them, the table may stand under the head's name and the other way round.
  const Place* find(const std::string& published, bool unwrapped);
  // The same; throws Error, naming what is near, where there is none.
  const Place& require(const std::string& published, bool unwrapped);
  // Throws Error for the first tensor that was never asked for. The head of a tied model may be left over.
  void check_all_used() const;

 private:
  void add(const SafetensorsFile& file);
  void add_saved(const SafetensorsFile& file, bool ties_saved);
  const Place* first_of(const std::vector<std::string>& names) const;

  ModelConfig config_;
  std::string path_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, Place> places_;  // by published name
  std::set<std::string> used_;
  std::vector<std::string> ignored_;
  bool own_head_ = false;
};

}  // namespace wt
