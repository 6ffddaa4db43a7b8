// The tensors of a checkpoint, found under any of the names that published files give them.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "layers/config.h"

namespace wt {

// All files that hold the weights: the .safetensors itself, or the parts that a model.safetensors.index.json names.
std::vector<SafetensorsFile> open_weights(const std::string& path);

// The name that we publish a tensor under, from any of these: our own, the wrapper's other path
// (`memory_cell.layers.{l}.…`), the hub's GPT-2 without `transformer.`, and those that PEFT makes of each
// (`base_model.model.` within, `.base_layer`, `.modules_to_save.default`).
std::string published_name(const ModelConfig& config, const std::string& stored);
// The name that a plain backbone has for a tensor of the wrapped model.
std::string backbone_name(std::string published);
// A parameter that is there because of the memory: fresh where a backbone is wrapped.
bool is_memory_parameter(const std::string& published);

class WeightMap {
 public:
  // Where a tensor stands.
  struct Place {
    const SafetensorsFile* file = nullptr;
    std::string name;
    const Shape& shape() const { return file->shape(name); }
  };

  // Opens the files; `path` is a .safetensors or an index, `more`, where given, another. Tensors for which `skip` is
  // true are left out, as are buffers that are no parameters. Throws Error where two tensors of one file are the same
  // parameter with different bytes.
  WeightMap(const ModelConfig& config, const std::string& path,
            const std::function<bool(const std::string&)>& skip = {}, const std::string& more = "");

  const std::vector<SafetensorsFile>& files() const { return files_; }
  // The place of a published tensor; null where there is none. `unwrapped`: also under the plain backbone's name.
  const Place* find(const std::string& published, bool unwrapped);
  // The same; throws Error, naming what is near, where there is none.
  const Place& require(const std::string& published, bool unwrapped);
  // Throws Error for the first tensor that was never asked for. The head of a tied model may be left over.
  void check_all_used() const;

 private:
  ModelConfig config_;
  std::string path_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, Place> places_;  // by published name
  std::set<std::string> used_;
};

}  // namespace wt
