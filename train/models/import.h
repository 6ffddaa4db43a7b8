// Wrapping a published backbone in a fresh memory, file to file: a Hugging Face folder of Llama or GPT-2 -> a model
// folder of ours. Weights keep their dtype, bit for bit, and are never all in memory.
#pragma once

#include <cstdint>
#include <string>

#include "layers/model_config.h"

namespace wt {

struct ImportOptions {
  ArmtConfig armt;
  std::uint64_t seed = 1;    // of the memory's fresh values
  std::string adapter_base;  // for a source of PEFT adapters, as find_model() has it
};

struct ImportReport {
  std::int64_t parameters = 0;  // scalars in all
  std::int64_t fresh = 0;       // those of the memory
  std::int64_t merged = 0;      // adapters
  std::string dtype;            // of the embedding table, which the memory's parameters take
  bool has_tokenizer = false;   // tokenizer.json (or vocab.json and merges.txt) was there
};

// Writes `target` whole or not at all: the source's config.json with an `armt` object, model.safetensors under the
// published names, the tokenizer's files. Adapters are merged. Memory parameters are fresh (spec: uniform ±1/√D for
// W_mq, W_mk, W_mb and its bias, W_mv zero, memory embeddings normal with the token embeddings' deviation, GPT-2's new
// position rows with the config's). Throws UsageError where a path or the options are wrong, Error naming what is
// missing, superfluous or not supported in the source.
ImportReport import_model(const std::string& source, const ImportOptions& options, const std::string& target);

}  // namespace wt
