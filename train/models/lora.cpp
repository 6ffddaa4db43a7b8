#include "train/models/lora.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/files.h"
#include "core/json.h"
#include "train/models/weight_map.h"

namespace wt {

LoraScale read_adapter_config(const std::string& path) {
  LoraScale scale;
  const nlohmann::json json = parse_json(read_file(path), path);
  try {
    for (const char* key : {"alpha_pattern", "rank_pattern"}) {
      WT_CHECK(!json.contains(key) || json[key].empty(), path, ": ", key, " is not supported, expected one for all");
    }
    WT_CHECK(!json.value("use_dora", false), path, ": use_dora is not supported, expected plain LoRA");
    scale.alpha = json.at("lora_alpha").get<double>();
    scale.rank_stabilized = json.value("use_rslora", false);
  } catch (const nlohmann::json::exception&) {
    throw Error(cat(path, ": expected a JSON object with the number lora_alpha"));
  }
  return scale;
}

bool is_adapter_tensor(const std::string& stored) {
  return stored.find(".lora_") != std::string::npos || stored.find(".original_module.") != std::string::npos;
}

Adapters::Adapters(const ModelConfig& config, const std::vector<SafetensorsFile>& files)
    : in_out_(config.type == BackboneType::kGPT2) {
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

Tensor Adapters::merged(const Tensor& weight, const std::string& published, double factor) {
  const auto found = pairs_.find(published);
  if (found == pairs_.end()) return weight;
  Pair& pair = found->second;
  pair.used = true;
  const DType dtype = weight.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  const Tensor a = pair.a.file->tensor(pair.a.name).to(Stream{}, dtype);
  const Tensor b = pair.b.file->tensor(pair.b.name).to(Stream{}, dtype);
  WT_CHECK(weight.shape().rank() == 2 && a.shape().rank() == 2 && b.shape().rank() == 2, pair.a.file->path(), ": ",
           pair.a.name, " is ", a.shape(), ", its weight ", weight.shape(), ", expected matrices");
  const std::int64_t out = weight.dim(in_out_ ? 1 : 0), in = weight.dim(in_out_ ? 0 : 1), rank = a.dim(0);
  WT_CHECK(rank > 0 && a.shape() == (Shape{rank, in}) && b.shape() == (Shape{out, rank}), pair.a.file->path(), ": ",
           pair.a.name, " is ", a.shape(), " and its lora_B ", b.shape(), ", the weight ", weight.shape());
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
  const auto found = pairs_.find(published);
  if (found == pairs_.end()) return weight;
  const Half& a = found->second.a;
  const Shape& shape = a.file->shape(a.name);
  WT_CHECK(shape.rank() == 2 && shape[0] > 0, a.file->path(), ": ", a.name, " is ", shape, ", expected (r, in)");
  if (!scale.alpha) {
    throw UsageError(cat(file.path(), ": holds LoRA adapters of rank ", shape[0],
                         "; give their scale with --lora-alpha (lora_alpha of the training)"));
  }
  const auto rank = static_cast<double>(shape[0]);
  const double factor = *scale.alpha / (scale.rank_stabilized ? std::sqrt(rank) : rank);
  return stored_as(weight.name, weight.dtype, merged(file.tensor(stored), published, factor));
}

void Adapters::check_all_used() const {
  for (const auto& [weight, pair] : pairs_) {
    WT_CHECK(pair.used, pair.a.file->path(), ": tensor ", pair.a.name, " adapts ", weight,
             ", which is not part of this model");
  }
}

}  // namespace wt
