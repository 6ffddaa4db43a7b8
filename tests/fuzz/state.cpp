#include <string_view>

#include "tests/fuzz/target.h"
#include "train/models/state_file.h"

namespace {

using namespace wt;

// Two models, of both kinds of memory. Their weights are zero, so that their fingerprints are the same everywhere.
const Model& model_with(bool with_rows) {
  const auto make = [](bool rows) {
    ModelConfig config;
    config.vocab_size = 11;
    config.hidden_size = 4;
    config.feed_forward.intermediate_size = 4;
    config.num_layers = 2;
    config.attention().num_heads = 2;
    if (rows) {
      config.rmt = {.segment_size = 5, .num_mem_tokens = 2};
    } else {
      config.armt = {.segment_size = 5, .num_mem_tokens = 2, .d_mem = 1, .nu = 1};
    }
    auto* model = new Model(config, DType::kF64, {}, WeightUse::kInference);
    for (const auto& parameter : model->parameters().all()) parameter->value().fill_zero({});
    return model;
  };
  static const Model* const models[] = {make(false), make(true)};
  return *models[with_rows ? 1 : 0];
}

// The corpus has "of-config-______" and "of-weights-_____" where a model's fingerprints stand, which change with the
// formats of other files.
std::string signed_by(const Model& model, std::string text) {
  const ModelFingerprint mine = fingerprint_of(model);
  for (const auto& [placeholder, hex] :
       {std::pair("of-config-______", &mine.config), std::pair("of-weights-_____", &mine.weights)}) {
    if (const std::size_t at = text.find(placeholder); at != std::string::npos) text.replace(at, hex->size(), *hex);
  }
  return text;
}

}  // namespace

// A state of either model; what was read must be written as a file that reads as the same.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  for (const bool with_rows : {false, true}) {
    const Model& model = model_with(with_rows);
    const std::string text = signed_by(model, std::string(fuzz::text_of(data, size)));
    const std::string& path =
        fuzz::file_with(reinterpret_cast<const std::uint8_t*>(text.data()), text.size(), ".state");
    Reading reading;
    bool was_read = false;
    fuzz::only_errors([&] {
      reading = load_reading(path, model, "");
      was_read = true;
    });
    if (!was_read) continue;
    save_reading(path, model, "", reading);
    const Reading again = load_reading(path, model, "");
    if (again.open != reading.open || again.closed != reading.closed) __builtin_trap();
    const NamedTensors left = again.memory.published(0), right = reading.memory.published(0);
    for (std::size_t i = 0; i < left.size(); ++i) {
      if (left[i].second.to_vector<double>() != right[i].second.to_vector<double>()) __builtin_trap();
    }
  }
  return 0;
}
