// Which tokens end a text, as the files of a model say it.
#pragma once

#include <cstdint>
#include <vector>

#include "data/tokenizer.h"
#include "train/models/model_io.h"

namespace wt {

// All of them, from the first of these that names any: generation_config.json's eos_token_id, config.json's (where a
// run's model.eos_id is, too), tokenizer_config.json's eos_token. Ids that the model has no row for end nothing and are
// left out. Empty where no file names one.
std::vector<std::int32_t> end_tokens(const ModelLocation& location, const Tokenizer& tokenizer);

}  // namespace wt
