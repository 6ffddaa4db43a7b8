// What a model keeps of a text it has read, as a file: read a book once, ask about it often. A safetensors file with
//   W_mem.{l} (P, D), z.{l} (P), ssm_state.{l}, …: the state of every layer after the closed segments, f32 or f64;
//     of attention over the text key.{l} and value.{l}, (rows, heads, width)
//   open_ids (n) i32:            the tokens of the open segment, 1 … N of them
// and, as text in its header: format, version, config and weights (fingerprints of the model), tokenizer (fingerprint,
// or "" where ids were given), segment_size, tokens_read.
#pragma once

#include <string>

#include "core/safetensors.h"
#include "layers/model.h"
#include "schedulers/reading.h"

namespace wt {

inline constexpr int kStateFileVersion = 2;

// 16 hex digits each. Config: what decides the memory of a text. Weights: every published tensor, whole, rounded to
// bf16, so that the dtype that a model computes in does not matter; XXH3 (github.com/Cyan4973/xxHash), at about the
// speed that memory is read with.
struct ModelFingerprint {
  std::string config, weights;
};
ModelFingerprint fingerprint_of(const Model& model);

// Writes what one sample has read, whole or not at all. Throws UsageError for a model without memory, which keeps
// nothing but the text itself, and where nothing was read; Error where the memory is not finite or the file cannot be
// written.
void save_reading(const std::string& path, const Model& model, const std::string& tokenizer, const Reading& reading);

// Reads it back, for this model only. `tokenizer`: the fingerprint of the one that goes on, "" for none. Throws Error,
// one line with the path, for a file that is no state, is of a newer version, of another model or tokenizer, or
// damaged: tensors missing, unknown, of another shape or dtype, numbers that are not finite, ids outside the
// vocabulary, counts that contradict each other.
Reading load_reading(const std::string& path, const Model& model, const std::string& tokenizer);

// Whether the file says of itself that it is a state.
bool is_state_file(const SafetensorsFile& file);
// What is in it, without the model it is of.
struct StateFileInfo {
  std::int64_t tokens_read = 0, open_tokens = 0, segment_size = 0;
  std::string config, weights, tokenizer;  // fingerprints
};
// Throws Error for a damaged one, as far as this shows it.
StateFileInfo state_file_info(const SafetensorsFile& file);

}  // namespace wt
