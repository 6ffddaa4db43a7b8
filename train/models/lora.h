// Low-rank adapters (Hu et al., arXiv 2106.09685) as PEFT names them in a checkpoint, merged into their weights:
//   W' = W + (alpha / r) B A        A (r, in), B (out, r), W (out, in)
// For GPT-2's matrices, which are (in, out), the product is transposed.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "core/safetensors.h"
#include "layers/model_config.h"

namespace wt {

struct LoraScale {
  std::optional<double> alpha;   // lora_alpha of the training
  bool rank_stabilized = false;  // alpha / √r in place of alpha / r
};

// What an adapter_config.json says of merging.
struct AdapterConfig {
  LoraScale scale;
  std::string base;         // base_model_name_or_path; may be empty
  bool ties_saved = false;  // ensure_weight_tying: a table that was trained whole is the head as well
};
// Throws Error naming what cannot be merged: other kinds of adapters, DoRA, alphas by layer, beginnings that change the
// base model (PiSSA), … Ranks may differ, a matrix tells its own.
AdapterConfig read_adapter_config(const std::string& path);

// A tensor that belongs to an adapter, or to what an adapter has replaced: no parameter of the merged model.
bool is_adapter_tensor(const std::string& stored);

// The adapters of a checkpoint, by the published name of the weight they change.
class Adapters {
 public:
  // Throws Error for adapters that are more than A and B, for halves without the other, for several at one weight.
  Adapters(const ModelConfig& config, const std::vector<SafetensorsFile>& files);

  std::size_t size() const { return pairs_.size(); }
  // Whether a weight has one, under this name or the plain backbone's.
  bool contains(const std::string& published) const;
  // Of the first one, for messages.
  std::int64_t rank() const;
  // The weight, on the CPU, with factor · B A added, in f32 or, where it is f64, in that; itself where no adapter is.
  Tensor merged(const Tensor& weight, const std::string& published, const LoraScale& scale);
  // The same in the weight's own dtype, untouched where no adapter is.
  StoredTensor merged(const StoredTensor& weight, const std::string& published, const SafetensorsFile& file,
                      const std::string& stored, const LoraScale& scale);
  // Throws Error for an adapter whose weight was never asked for.
  void check_all_used() const;

 private:
  struct Half {
    const SafetensorsFile* file = nullptr;
    std::string name;
  };
  struct Pair {
    Half a, b;
    bool used = false;
  };
  Pair* find(const std::string& published);
  bool in_out_;  // matrices are (in, out)
  std::map<std::string, Pair> pairs_;
};

}  // namespace wt
