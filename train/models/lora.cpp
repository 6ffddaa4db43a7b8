#include "train/models/lora.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/files.h"
#include "core/json.h"
#include "train/models/finite.h"
#include "train/models/weight_map.h"

namespace wt {

AdapterConfig read_adapter_config(const std::string& path) {
  AdapterConfig config;
  const nlohmann::json json = parse_json(read_file(path), path);
  WT_CHECK(json.is_object(), path, ": expected a JSON object with the number lora_alpha");
  const auto is_set = [&](const char* key) {
    const auto found = json.find(key);
    if (found == json.end() || found->is_null()) return false;
    return found->is_boolean() ? found->get<bool>() : !found->empty();
  };
  for (const char* key : {"use_dora", "alpha_pattern", "lora_bias", "use_qalora", "alora_invocation_tokens",
                          "layer_replication", "target_parameters", "trainable_token_indices", "use_bdlora",
                          "arrow_config", "kasa_config", "monteclora_config"}) {
    WT_CHECK(!is_set(key), path, ": ", key, " is not supported, expected plain LoRA with one lora_alpha");
  }
  try {
    const std::string type = json.value("peft_type", "LORA");
    WT_CHECK(type == "LORA", path, ": peft_type is ", type, ", expected LORA");
    if (const auto init = json.find("init_lora_weights"); init != json.end() && init->is_string()) {
      const std::string kind = init->get<std::string>();
      WT_CHECK(kind == "gaussian" || kind == "orthogonal" || kind == "eva", path, ": init_lora_weights is ", kind,
               ", which may change the base model: save the adapters as plain LoRA first "
               "(path_initial_model_for_weight_conversion)");
    }
    config.scale.alpha = json.at("lora_alpha").get<double>();
    config.scale.rank_stabilized = json.value("use_rslora", false);
    if (is_set("base_model_name_or_path")) config.base = json["base_model_name_or_path"].get<std::string>();
    config.ties_saved = is_set("ensure_weight_tying");
  } catch (const nlohmann::json::exception&) {
    throw Error(cat(path, ": expected a JSON object with the number lora_alpha"));
  }
  return config;
}

bool is_adapter_tensor(const std::string& stored) {
  return stored.find(".lora_") != std::string::npos || stored.find(".original_module.") != std::string::npos;
}

Adapters::Adapters(const ModelConfig& config, const std::vector<SafetensorsFile>& files)
    : in_out_(config.layout == kernels::WeightLayout::kInOut) {
  for (const SafetensorsFile& file : files) {
    for (const std::string& name : file.names()) {
      const auto at = name.find(".lora_");
      if (at == std::string::npos) continue;
      // "lora_A.default.weight" or, without the adapter's name, "lora_A.weight"
      const std::string part = name.substr(at + 1);
      WT_CHECK((part.starts_with("lora_A.") || part.starts_with("lora_B.")) && part.ends_with("weight"), file.path(),
               ": tensor ", name, " is no plain LoRA (lora_A and lora_B weights), which is not supported");
      Pair& pair = pairs_[published_name(config, name.substr(0, at) + ".weight")];
      Half& half = part[5] == 'A' ? pair.a : pair.b;
      // The same adapter may stand under both names of its layer.
      WT_CHECK(half.file == nullptr || half.file->stored(half.name).bytes == file.stored(name).bytes, file.path(),
               ": two different adapters at one weight, ", half.name, " and ", name);
      half = {&file, name};
    }
  }
  for (const auto& [weight, pair] : pairs_) {
    const Half& other = pair.a.file != nullptr ? pair.a : pair.b;
    WT_CHECK(pair.a.file != nullptr && pair.b.file != nullptr, other.file->path(), ": tensor ", other.name,
             " is there without its lora_", pair.a.file == nullptr ? "A" : "B");
  }
}

Adapters::Pair* Adapters::find(const std::string& published) {
  for (const std::string& name : {published, backbone_name(published)}) {
    if (const auto found = pairs_.find(name); found != pairs_.end()) return &found->second;
  }
  return nullptr;
}

bool Adapters::contains(const std::string& published) const {
  return pairs_.count(published) + pairs_.count(backbone_name(published)) > 0;
}

std::int64_t Adapters::rank() const {
  const Half& a = pairs_.begin()->second.a;
  const Shape& shape = a.file->shape(a.name);
  WT_CHECK(shape.rank() == 2 && shape[0] > 0, a.file->path(), ": ", a.name, " is ", shape, ", expected (r, in)");
  return shape[0];
}

Tensor Adapters::merged(const Tensor& weight, const std::string& published, const LoraScale& scale) {
  Pair* const found = find(published);
  if (found == nullptr) return weight;
  Pair& pair = *found;
  pair.used = true;
  for (const Half* half : {&pair.a, &pair.b}) check_finite(*half->file, half->name);
  const DType dtype = weight.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  const Tensor a = pair.a.file->tensor(pair.a.name).to(Stream{}, dtype);
  const Tensor b = pair.b.file->tensor(pair.b.name).to(Stream{}, dtype);
  WT_CHECK(weight.shape().rank() == 2 && a.shape().rank() == 2 && b.shape().rank() == 2, pair.a.file->path(), ": ",
           pair.a.name, " is ", a.shape(), ", its weight ", weight.shape(), ", expected matrices");
  const std::int64_t out = weight.dim(in_out_ ? 1 : 0), in = weight.dim(in_out_ ? 0 : 1), rank = a.dim(0);
  WT_CHECK(rank > 0 && a.shape() == (Shape{rank, in}) && b.shape() == (Shape{out, rank}), pair.a.file->path(), ": ",
           pair.a.name, " is ", a.shape(), " and its lora_B ", b.shape(), ", the weight ", weight.shape());
  const auto width = static_cast<double>(rank);
  const double factor = scale.alpha.value() / (scale.rank_stabilized ? std::sqrt(width) : width);
  const Tensor sum = Tensor::empty(Stream{}, weight.shape(), dtype);
  sum.copy_from(Stream{}, weight.to(Stream{}, dtype));
  dispatch_real(dtype, [&]<class T>() {
    T* w = sum.data<T>();
    std::vector<T> row(static_cast<std::size_t>(in));
    for (std::int64_t o = 0; o < out; ++o) {
      std::fill(row.begin(), row.end(), T(0));
      for (std::int64_t r = 0; r < rank; ++r) {
        const T left = b.data<T>()[o * rank + r];
        const T* right = a.data<T>() + r * in;
        for (std::int64_t i = 0; i < in; ++i) row[static_cast<std::size_t>(i)] += left * right[i];
      }
      for (std::int64_t i = 0; i < in; ++i) {
        w[in_out_ ? i * out + o : o * in + i] += static_cast<T>(factor) * row[static_cast<std::size_t>(i)];
      }
    }
  });
  return sum;
}

StoredTensor Adapters::merged(const StoredTensor& weight, const std::string& published, const SafetensorsFile& file,
                              const std::string& stored, const LoraScale& scale) {
  if (!contains(published)) return weight;
  return stored_as(weight.name, weight.dtype, merged(file.tensor(stored), published, scale));
}

void Adapters::check_all_used() const {
  for (const auto& [weight, pair] : pairs_) {
    WT_CHECK(pair.used, pair.a.file->path(), ": tensor ", pair.a.name, " adapts ", weight,
             ", which is not part of this model");
  }
}

}  // namespace wt
