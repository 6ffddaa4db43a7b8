// A language model that reads segment by segment: embeddings, a stack of layers with their recurrent state, a head.
// Legend: L layers, G layers of a wave, B samples, T rows, D width, V vocabulary, R chosen rows.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "layers/associative_memory.h"
#include "layers/kinds.h"
#include "layers/mixer.h"
#include "layers/model_config.h"
#include "layers/state.h"
#include "layers/wave_cells.h"

namespace wt {

class Model {
 public:
  // dtype: what activations and matrix products are computed in.
  Model(const ModelConfig& config, DType dtype, const Stream& stream = {}, WeightUse use = WeightUse::kTraining);

  const ModelConfig& config() const { return config_; }
  ParameterStore& parameters() { return store_; }
  const ParameterStore& parameters() const { return store_; }
  DType dtype() const { return store_.dtype(); }
  const Stream& stream() const { return stream_; }
  int num_layers() const { return static_cast<int>(config_.num_layers); }
  const Kinds& kinds() const { return kinds_; }

  // Whether it reads by segments and carries a state from one to the next.
  bool recurrent() const { return config_.segment_size() > 0; }
  // Whether some of it grows with the text.
  bool state_grows() const;
  // The last layer's output enters the next segment's input, so that segments run one after another.
  bool one_after_another() const { return layout_.carries; }
  // Tokens of a full segment; a model that is not recurrent reads everything as one segment.
  std::int64_t segment_size(std::int64_t sequence_length) const;
  // From here on segments of so many tokens, where all layers carry a text's state by themselves: it makes no
  // difference to what is read. Throws Error for another model.
  void read_by(std::int64_t tokens);
  // Rows of a text's first `tokens` tokens, which are full segments.
  std::int64_t closed_rows(std::int64_t tokens) const;
  // Tokens that fit one segment; 0: no limit.
  std::int64_t max_segment_tokens() const;
  const SegmentLayout& layout() const { return layout_; }
  // The table that has its entries, which are the tokens' and, with ARMT, the memory's.
  bool is_position_table(const ParameterSpec& spec) const {
    return positions_ != nullptr && &positions_->spec() == &spec;
  }

  const std::vector<StateSpec>& state_specs() const { return specs_; }
  State new_state(std::int64_t batch) const { return {specs_, batch, stream_}; }
  // The entry of what the model itself carries (RMT's rows).
  std::optional<std::size_t> own_state() const;
  // WaveCells::constants for segments of at most `rows` rows; `open` as in Mixer::constants().
  std::shared_ptr<const std::vector<Tensor>> constants(std::int64_t rows, bool open) const;

  // Input rows of a segment, written to out_BTD. `carried` is the model's own state where there is one.
  Var embed(Context& ctx, const WaveCells& cells, const EmbeddingRows& rows, const Tensor& out,
            const Var& carried = {}) const;
  // The model's own next state, (1, B, M, D), of the last layer's output y_1BTD.
  Var carry(Context& ctx, const WaveCells& cells, const Var& y) const;

  // One wave: x_GBTD and the state of its layers -> y_GBTD, written to `out`, and the next state, written to
  // `state_out` (without a record that may be the memory of `state`). By spec, as State::slice() gives them.
  struct WaveOutput {
    Var y;
    std::vector<Var> state;
  };
  WaveOutput forward(Context& ctx, const WaveCells& cells, const Var& x, const std::vector<Var>& state,
                     const std::vector<Tensor>& state_out, const Tensor& out) const;

  // Final norm and head: hidden_RD -> logits_RV in the wide dtype.
  Var head(Context& ctx, const Var& hidden) const;

  // Of one layer's cell of `rows` rows whose text had `past` rows before it.
  Cost cost(int layer, std::int64_t rows, std::int64_t past) const;
  // Of the head on that many rows.
  double head_flops(std::int64_t rows) const;

 private:
  struct Mixed {
    Var h;
    Normed normed;  // what the feed-forward half is given
  };
  static Normed normed_by(Context& ctx, const Norm& norm, const Var& x);
  Var mix_alone(Context& ctx, const WaveCells& cells, const Var& x, const std::vector<Var>& state,
                const std::vector<Tensor>& state_out, const Tensor& out, std::vector<Var>& next) const;
  Mixed mix(Context& ctx, const WaveCells& cells, const Var& x, const std::vector<Var>& state,
            const std::vector<Tensor>& state_out, std::vector<Var>& next) const;
  Var mix_group(Context& ctx, const WaveCells& cells, const LayerGroup& group, const Normed& x, const Var* residual,
                const std::vector<Var>& state, const std::vector<Tensor>& state_out, const Tensor& out,
                std::vector<Var>& next) const;

  ModelConfig config_;
  Stream stream_;
  ParameterStore store_;
  SegmentLayout layout_;
  Kinds kinds_;
  Parameter *tokens_ = nullptr, *positions_ = nullptr, *memory_tokens_ = nullptr, *head_ = nullptr;
  std::optional<AssociativeMemory> memory_;
  std::vector<std::unique_ptr<Mixer>> mixers_;  // by kind
  std::optional<Norm> norm1_, norm2_, norm_;
  std::optional<FeedForward> feed_forward_;  // with norm2_; none: layers are their mixers alone
  std::vector<StateSpec> specs_;
  std::vector<std::size_t> specs_of_kind_;  // where each kind's begin; the memory's are the first
};

}  // namespace wt
