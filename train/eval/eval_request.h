// What `wavetape eval` is asked for, and the settings that come of it and of the run that the model is from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "train/config.h"
#include "train/models/model_io.h"

namespace wt {

// The command line's words; what is empty, 0 or unset was not given.
struct EvalRequest {
  std::string model, babi, books, tokenizer, output, dtype = "f32", device = "auto", schedule = "auto";
  std::string prompts, system, layout = "plain", name, plot;
  std::vector<std::string> tasks, lengths, sets;
  std::int64_t samples = 0, batch_size = 0, max_new_tokens = 0;
  std::optional<std::int64_t> seed;
  ReadingOptions reading;
  bool show = false, chat = false;
};

struct EvalSettings {
  DataConfig data;
  EvalConfig eval;
  std::int64_t seed = 1;
  std::int64_t trained_segments = 1;
};

// A run's own.
EvalSettings eval_settings_of(const Config& config);

// The run's own where the model is a run's folder, else defaults; what the request says comes before both. Throws
// UsageError where there is no tokenizer, or for a run's configuration or data files that are not to be used.
EvalSettings resolve_settings(const EvalRequest& request, const ModelLocation& location);

}  // namespace wt
