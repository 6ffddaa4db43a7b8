// A language model that reads segment by segment: embeddings, a stack of blocks with their recurrent state, a head.
// ARMT or RMT on Llama or GPT-2, or the backbone alone (one segment, no state).
// Legend: L layers, G layers of a wave, B samples, T rows, D width, V vocabulary, R chosen rows.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "layers/associative_memory.h"
#include "layers/blocks.h"
#include "layers/config.h"

namespace wt {

// One recurrent tensor of every layer: (L, B, …) in all, (G, B, …) in a wave, zero at the start of a sequence.
struct StateSpec {
  std::string name;  // published name with "{l}": "W_mem.{l}"
  Shape shape;       // of one layer and sample
};

// A segment's input before its embedding: rows_BT and, for a model with a table of positions, position_BT.
// RMT, from the second segment on: memory row carried_from[i] of the (B·M) carried ones is added to the row
// carried_to_read[i] of the (B·T), and to carried_to_write[i].
struct EmbeddingRows {
  Tensor rows, position;
  Tensor carried_from, carried_to_read, carried_to_write;  // (r) i32, undefined where nothing is carried
  EmbeddingRows to(const Stream& stream) const;
  // Overwrites equally shaped ones.
  void copy_from(const Stream& stream, const EmbeddingRows& source) const;
};

// The recurrent state for B samples: one tensor (L, B, …) for each StateSpec; for RMT, whose state belongs to no layer,
// the memory rows (1, B, M, D) that enter the next segment.
using State = std::vector<Tensor>;

class Model {
 public:
  // dtype: what activations and matrix products are computed in. The recurrent state is kept in wide(dtype).
  Model(const ModelConfig& config, DType dtype, const Stream& stream = {}, WeightUse use = WeightUse::kTraining);

  const ModelConfig& config() const { return config_; }
  ParameterStore& parameters() { return store_; }
  const ParameterStore& parameters() const { return store_; }
  DType dtype() const { return store_.dtype(); }
  const Stream& stream() const { return stream_; }
  int num_layers() const { return static_cast<int>(config_.num_layers); }
  bool recurrent() const { return config_.has_memory(); }
  // RMT: the last layer's output enters the next segment's input, so that segments run one after another.
  bool carries_rows() const { return config_.has_rmt; }
  std::int64_t num_mem_tokens() const { return config_.num_mem_tokens(); }
  // Rows of a segment beside its tokens, and how many of these stand before them.
  std::int64_t memory_rows() const { return config_.memory_rows(); }
  std::int64_t first_token_row() const { return carries_rows() ? config_.rmt.num_mem_tokens : 0; }
  // Tokens of a full segment; a model without memory reads everything as one segment.
  std::int64_t segment_size(std::int64_t sequence_length) const;
  bool has_position_table() const { return positions_ != nullptr; }
  // Tokens that fit one segment; 0: no limit.
  std::int64_t max_segment_tokens() const;

  std::vector<StateSpec> state_specs() const;
  State new_state(std::int64_t batch) const;
  // What of a state belongs to the layers: all of it, or nothing (RMT).
  State layer_state(const State& state) const { return carries_rows() ? State{} : state; }

  // What `embed` is given for a segment's rows_BT (as in kernels/embedding.h), on the CPU as is first_B: row t of
  // sample b stands at position first_B[b] + t (t where undefined); GPT-2's memory rows take the last M positions of
  // its table. RMT: all rows count, memory rows included; carried_row(j) stands for the j-th carried memory row.
  std::int32_t carried_row(std::int32_t j) const;
  EmbeddingRows embedding_rows(const Tensor& rows, const Tensor& first) const;
  // Input rows of a segment, written to out_BTD. `carried` is RMT's state, (1, B, M, D).
  Var embed(Context& ctx, const WaveCells& cells, const EmbeddingRows& rows, const Tensor& out,
            const Var& carried = {}) const;
  // RMT: the memory rows for the next segment, (1, B, M, D), of the last layer's output y_1BTD: norm(write rows).
  Var carry(Context& ctx, const WaveCells& cells, const Var& y) const;

  // One wave: x_GBTD and the state of its layers -> y_GBTD, written to `out`, and the next state, written to
  // `state_out` (without a record that may be the memory of `state`).
  struct WaveOutput {
    Var y;
    std::vector<Var> state;
  };
  WaveOutput forward(Context& ctx, const WaveCells& cells, const Var& x, const std::vector<Var>& state,
                     const State& state_out, const Tensor& out) const;

  // Read-only pass of the context's one layer over the next rows of each sample (spec: generation), x_1BTD -> y_1BTD.
  // The state is that of the layer, (1, B, …).
  Tensor forward_cached(Context& ctx, const WaveCells& cells, const Tensor& x, const std::vector<Var>& state,
                        const KeyValueCache& cache) const;
  // The same for the memory rows that end a segment, x_1BMD, with the write that follows: the state is changed in
  // place, where `cells` are active. cells.memory_first is zero: x holds nothing but memory rows.
  Tensor close_cached(Context& ctx, const WaveCells& cells, const Tensor& x, const std::vector<Var>& state,
                      const KeyValueCache& cache) const;
  KeyValueCache new_cache(std::int64_t batch, std::int64_t rows) const;

  // Final norm and head: hidden_RD -> logits_RV in the wide dtype.
  Var head(Context& ctx, const Var& hidden) const;

 private:
  Var final_norm(Context& ctx, const Var& rows) const;

  ModelConfig config_;
  Stream stream_;
  ParameterStore store_;
  Parameter *tokens_ = nullptr, *positions_ = nullptr, *memory_tokens_ = nullptr;
  Parameter *norm_ = nullptr, *norm_bias_ = nullptr, *head_ = nullptr;
  std::unique_ptr<Blocks> blocks_;
  std::unique_ptr<AssociativeMemory> memory_;
};

}  // namespace wt
