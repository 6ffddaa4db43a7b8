#include "train/models/state_file.h"

#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <memory>

#include "core/safetensors.h"
#include "data/fingerprint.h"
#include "kernels/cast.h"
#include "train/models/finite.h"
#include "train/models/model_config_json.h"

namespace wt {
namespace {

constexpr const char* kFormat = "wavetape state";
constexpr const char* kOpenIds = "open_ids";
constexpr std::int64_t kBlockNumbers = 1 << 22;  // hashed at a time

using Metadata = std::map<std::string, std::string>;

const std::string& text_of(const SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) throw Error(cat(file.path(), ": the state has no ", key, ": it is damaged"));
  return found->second;
}

std::int64_t number_of(const SafetensorsFile& file, const std::string& key) {
  const std::string& text = text_of(file, key);
  std::int64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || value < 1) {
    throw Error(cat(file.path(), ": ", key, " is not a number of at least 1: the state is damaged"));
  }
  return value;
}

// The header's words: of this format and version, and of this model.
void check_header(const SafetensorsFile& file, const Model& model, const std::string& tokenizer) {
  const std::string& path = file.path();
  if (!is_state_file(file)) {
    throw Error(cat(path, ": not a state file, expected one that `wavetape generate --save-state` wrote"));
  }
  if (const std::int64_t version = number_of(file, "version"); version > kStateFileVersion) {
    throw Error(cat(path, ": a state file of version ", version, ", this program reads up to ", kStateFileVersion,
                    ": use the newer program that wrote it, or read the text again"));
  }
  if (number_of(file, "version") < kStateFileVersion) {
    throw Error(cat(path,
                    ": a state file of version 1, which knew its model by two rows of each tensor only: read the ",
                    "text again with this model"));
  }
  const ModelFingerprint mine = fingerprint_of(model);
  if (const std::int64_t size = number_of(file, "segment_size"); size != model.config().segment_size()) {
    throw Error(cat(path, ": the state of a model with segments of ", size, " tokens, this one's have ",
                    model.config().segment_size(), ": read the text again with this model"));
  }
  for (const auto& [key, wanted] : {std::pair("config", &mine.config), std::pair("weights", &mine.weights)}) {
    if (text_of(file, key) != *wanted) {
      throw Error(cat(path, ": the state of another model (other ", key, "): read the text again with this one"));
    }
  }
  const std::string made_with = text_of(file, "tokenizer");
  if (!tokenizer.empty() && !made_with.empty() && tokenizer != made_with) {
    throw Error(cat(path, ": the text was read with another tokenizer than the one in use: name it with --tokenizer"));
  }
}

// A layer's tensor in the dtype that the model keeps its memory in.
Tensor checked_memory(const SafetensorsFile& file, const std::string& name, const Shape& shape, DType dtype) {
  const std::string& stored = file.stored_dtype(name);
  if (file.shape(name) != shape || (stored != "F32" && stored != "F64")) {
    throw Error(cat(file.path(), ": tensor ", name, " is ", stored, file.shape(name), ", expected F32 or F64", shape,
                    ": the state is damaged"));
  }
  const Tensor wide = file.tensor(name).to(Stream{}, DType::kF64);
  const double* values = wide.data<double>();
  // Beyond f32 a value would become infinite on the way.
  const bool sound = std::all_of(values, values + wide.numel(), [&](double value) {
    return std::isfinite(value) && (dtype == DType::kF64 || std::isfinite(static_cast<float>(value)));
  });
  if (!sound)
    throw Error(cat(file.path(), ": tensor ", name, " holds a value that is not finite: the state is damaged"));
  return wide.to(Stream{}, dtype);
}

// The rows that a file has of what grows with a text, before room is made for them: its own tensors must be as long.
std::int64_t checked_rows(const SafetensorsFile& file, const State& memory, std::int64_t rows) {
  for (const StateSpec& spec : memory.specs()) {
    if (!spec.grows() || spec.open || rows == 0) continue;
    const std::string name = name_of_layer(spec.name, spec.layers.front());
    if (const Shape& shape = file.shape(name); shape.rank() < 1 || shape[0] != rows) {
      throw Error(cat(file.path(), ": tensor ", name, " is ", shape, ", expected ", rows,
                      " rows, those of the closed segments: the state is damaged"));
    }
  }
  return rows;
}

// As fingerprints have counted them since version 2: the biases of Llama's layers behind all other tensors of layers.
std::vector<PublishedTensor> in_file_order(const Model& model) {
  std::vector<PublishedTensor> tensors = model.parameters().published();
  if (model.config().family != "llama") return tensors;
  const auto of_layers = [](const PublishedTensor& tensor) { return !tensor.parameter->spec().layers.empty(); };
  const auto begin = std::find_if(tensors.begin(), tensors.end(), of_layers);
  const auto end = std::find_if(tensors.rbegin(), tensors.rend(), of_layers).base();
  std::stable_partition(begin, end, [](const PublishedTensor& tensor) {
    return tensor.parameter->spec().role != Role::kBackbone || !tensor.name.ends_with(".bias");
  });
  return tensors;
}

}  // namespace

ModelFingerprint fingerprint_of(const Model& model) {
  // What a text's memory does not depend on may change: how fresh weights are drawn, what ends an answer.
  ModelConfig decisive = model.config();
  decisive.dropout = 0;
  decisive.init_std = ModelConfig{}.init_std;
  decisive.bos_id = -1;
  decisive.eos_ids.clear();
  Fingerprint config;
  config.add(format_model_config(decisive, DType::kF32));

  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> weights(XXH3_createState(), XXH3_freeState);
  WT_CHECK(weights != nullptr && XXH3_64bits_reset(weights.get()) == XXH_OK, "no memory for a fingerprint");
  const auto add = [&](const void* bytes, std::size_t count) { XXH3_64bits_update(weights.get(), bytes, count); };
  for (const PublishedTensor& tensor : in_file_order(model)) {
    add(tensor.name.data(), tensor.name.size() + 1);
    const std::int64_t rows = tensor.value.dim(0),
                       step = std::max<std::int64_t>(1, kBlockNumbers / (tensor.value.numel() / rows));
    for (std::int64_t row = 0; row < rows; row += step) {
      const Tensor block = tensor.slice(row, std::min(row + step, rows)).read(model.stream()).to_cpu(model.stream());
      const Tensor values = Tensor::empty(Stream{}, block.shape(), DType::kBF16);
      kernels::cast(Stream{}, block, values);  // f64 by way of f32, as the same numbers computed in f32
      add(values.raw(), values.bytes());
    }
  }
  Fingerprint hash;
  hash.add(static_cast<std::int64_t>(XXH3_64bits_digest(weights.get())));
  return {config.hex(), hash.hex()};
}

void save_reading(const std::string& path, const Model& model, const std::string& tokenizer, const Reading& reading) {
  WT_CHECK(reading.batch() == 1, "a state file holds what one sample has read, not ", reading.batch());
  if (!model.recurrent()) {
    throw UsageError("this model has no memory: all it keeps of a text is the text, there is no state to save");
  }
  const std::int64_t rows = model.closed_rows(reading.closed[0]);
  if (reading.open[0].empty()) throw UsageError("nothing was read, there is no state to save");
  const ModelFingerprint mine = fingerprint_of(model);
  NamedTensors tensors;
  for (const auto& [name, memory] : reading.memory.published(0, rows)) {
    // What is narrow in a bf16 model is wide in the file.
    tensors.emplace_back(name, memory.to_cpu(model.stream()).to(Stream{}, wide(memory.dtype())));
    if (all_finite(tensors.back().second)) continue;
    throw Error(cat("the model's memory after this text is not finite (", name,
                    "): its weights are damaged or too large for this dtype; nothing is saved"));
  }
  const auto open = static_cast<std::int64_t>(reading.open[0].size());
  tensors.emplace_back(kOpenIds, Tensor::from<std::int32_t>({open}, reading.open[0]));
  write_safetensors(path, tensors,
                    {{"format", kFormat},
                     {"version", std::to_string(kStateFileVersion)},
                     {"config", mine.config},
                     {"weights", mine.weights},
                     {"tokenizer", tokenizer},
                     {"segment_size", std::to_string(model.config().segment_size())},
                     {"tokens_read", std::to_string(reading.tokens(0))}});
}

Reading load_reading(const std::string& path, const Model& model, const std::string& tokenizer) {
  if (!model.recurrent()) throw UsageError(cat(path, ": this model has no memory, no state can be of it"));
  const SafetensorsFile file = SafetensorsFile::open(path);
  check_header(file, model, tokenizer);
  Reading reading = new_reading(model, 1);
  const std::int64_t size = model.config().segment_size(), read = number_of(file, "tokens_read");
  const Shape& shape = file.shape(kOpenIds);
  if (file.stored_dtype(kOpenIds) != "I32" || shape.rank() != 1 || shape[0] < 1 || shape[0] > size) {
    throw Error(cat(path, ": tensor ", kOpenIds, " is ", file.stored_dtype(kOpenIds), shape, ", expected 1 to ", size,
                    " ids (I32): the state is damaged"));
  }
  reading.open[0] = file.tensor(kOpenIds).to_vector<std::int32_t>();
  for (const std::int32_t id : reading.open[0]) {
    if (id < 0 || id >= model.config().vocab_size) {
      throw Error(cat(path, ": id ", id, " in ", kOpenIds, " is not in the vocabulary of ", model.config().vocab_size,
                      ": the state is damaged"));
    }
  }
  reading.closed[0] = read - shape[0];
  if (reading.closed[0] < 0 || reading.closed[0] % size != 0) {
    throw Error(cat(path, ": tokens_read is ", read, " with ", shape[0], " in an open segment of ", size,
                    ": the state is damaged"));
  }
  const std::int64_t rows = model.closed_rows(reading.closed[0]);
  reading.memory.reserve(checked_rows(file, reading.memory, rows));
  const NamedTensors memories = reading.memory.published(0, rows);
  if (const std::size_t wanted = memories.size() + 1; file.names().size() != wanted) {
    throw Error(cat(path, ": ", file.names().size(), " tensors, expected ", wanted, ": the state is damaged"));
  }
  for (const auto& [name, memory] : memories) {
    memory.copy_from(model.stream(), checked_memory(file, name, memory.shape(), memory.dtype()));
  }
  // Before the first segment is closed there is no memory; kernels take it for zero without looking.
  if (reading.closed[0] == 0) {
    for (const auto& [name, memory] : memories) memory.fill_zero(model.stream());
  }
  return reading;
}

bool is_state_file(const SafetensorsFile& file) {
  const auto format = file.metadata().find("format");
  return format != file.metadata().end() && format->second == kFormat;
}

StateFileInfo state_file_info(const SafetensorsFile& file) {
  StateFileInfo info{number_of(file, "tokens_read"), file.shape(kOpenIds).numel(), number_of(file, "segment_size"),
                     text_of(file, "config"),        text_of(file, "weights"),     text_of(file, "tokenizer")};
  if (info.open_tokens > info.tokens_read) {
    throw Error(cat(file.path(), ": tokens_read is ", info.tokens_read, " with ", info.open_tokens,
                    " in the open segment: the state is damaged"));
  }
  return info;
}

}  // namespace wt
