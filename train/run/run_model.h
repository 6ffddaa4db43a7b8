// The tokenizer and the model that a configuration asks for.
#pragma once

#include "data/tokenizer.h"
#include "layers/model.h"
#include "train/config.h"

namespace wt {

// The tokenizer of a run's data: data.tokenizer, or the one that associative retrieval's options make. Throws
// UsageError with the key's place where the model to start from is not there: the tokenizer is mostly that model's.
Tokenizer load_tokenizer(const Config& config);

// The configured model with what only the tokenizer knows (vocabulary, end of text), or that of the folder to start
// from with the memory to add. Throws UsageError with the key's place.
ModelConfig resolve_model(const Config& config, const Tokenizer& tokenizer);

}  // namespace wt
