#include "layers/model.h"

#include "autograd/ops/activation.h"
#include "autograd/ops/embedding.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/norm.h"

namespace wt {

Model::Model(const ModelConfig& config, DType dtype, const Stream& stream, WeightUse use)
    : config_(config), stream_(stream), store_(dtype, stream, use) {
  WT_CHECK(config.vocab_size > 0 && config.hidden_size > 0 && config.num_layers > 0 && config.num_heads > 0,
           "model: vocab_size, hidden_size, num_layers and num_heads must be at least 1");
  const bool gpt2 = config.type == BackboneType::kGPT2;
  const std::int64_t v = config.vocab_size, d = config.hidden_size, m = config.armt.num_mem_tokens;
  const Init init = Init::normal(config.init_std);
  const Init embedding = Init::normal(config.fresh_embedding_std());
  const std::string outer = config.has_armt ? "memory_cell.model." : "";
  const std::string base = outer + (gpt2 ? "transformer." : "model.");
  const std::string layer = base + (gpt2 ? "h.{l}." : "layers.{l}.");
  const auto add = [&](const std::string& key, const std::string& name, Shape shape, const Init& fresh,
                       bool decay) -> Parameter* {
    return &store_.add({key, 0, shape, {{name, 0, shape[0], fresh}}, decay});
  };
  if (config.has_armt) {
    WT_CHECK(config.armt.segment_size > 0 && m > 0 && config.armt.d_mem > 0 && config.armt.nu > 0,
             "armt: segment_size, num_mem_tokens, d_mem and nu must be at least 1");
    memory_tokens_ = add("memory", "memory_cell.memory", {m, d}, embedding, false);
  }
  tokens_ = add("embed_tokens", base + (gpt2 ? "wte.weight" : "embed_tokens.weight"), {v, d}, embedding, true);
  if (gpt2) {
    positions_ =
        add("positions", base + "wpe.weight", {config.max_positions + (config.has_armt ? m : 0), d}, embedding, true);
  }
  if (config.has_armt) memory_ = std::make_unique<AssociativeMemory>(config, layer, store_);
  const std::string block = layer + (config.has_armt ? "layer." : "");
  blocks_ = gpt2 ? make_gpt2_blocks(config, block, store_) : make_llama_blocks(config, block, store_);
  norm_ = add("norm", base + (gpt2 ? "ln_f.weight" : "norm.weight"), {d}, Init::ones(), false);
  if (gpt2) norm_bias_ = add("norm.bias", base + "ln_f.bias", {d}, Init::zeros(), false);
  if (!config.tie_word_embeddings) head_ = add("lm_head", outer + "lm_head.weight", {v, d}, init, true);
}

std::int64_t Model::segment_size(std::int64_t sequence_length) const {
  return recurrent() ? config_.armt.segment_size : std::max<std::int64_t>(sequence_length, 1);
}

std::vector<StateSpec> Model::state_specs() const {
  if (!recurrent()) return {};
  const std::int64_t p = config_.armt.num_features();
  return {{"W_mem.{l}", {p, config_.hidden_size}}, {"z.{l}", {p}}};
}

State Model::new_state(std::int64_t batch) const {
  State state;
  for (const StateSpec& spec : state_specs()) {
    Shape shape{config_.num_layers, batch};
    for (const std::int64_t extent : spec.shape) shape.append(extent);
    state.push_back(Tensor::zeros(stream_, shape, wide(dtype())));
  }
  return state;
}

EmbeddingRows EmbeddingRows::to(const Stream& stream) const {
  EmbeddingRows out = *this;
  if (rows.defined()) out.rows = rows.to(stream);
  if (position.defined()) out.position = position.to(stream);
  return out;
}

void EmbeddingRows::copy_from(const Stream& stream, const EmbeddingRows& source) const {
  if (rows.defined()) rows.copy_from(stream, source.rows);
  if (position.defined()) position.copy_from(stream, source.position);
}

EmbeddingRows Model::embedding_rows(const Tensor& rows, const Tensor& first) const {
  if (positions_ == nullptr) return {rows, {}};
  const std::int64_t b = rows.dim(0), t = rows.dim(1), m = num_mem_tokens();
  const std::int64_t table = positions_->value().dim(1);
  std::vector<std::int32_t> at(static_cast<std::size_t>(b * t), -1);
  const std::int32_t* ids = rows.data<std::int32_t>();
  for (std::int64_t i = 0; i < b * t; ++i) {
    std::int32_t& place = at[static_cast<std::size_t>(i)];
    if (ids[i] >= 0) {
      place = static_cast<std::int32_t>(i % t) + (first.defined() ? first.data<std::int32_t>()[i / t] : 0);
    }
    if (ids[i] < kernels::kPaddingRow) place = static_cast<std::int32_t>(table - m - 2 - ids[i]);
  }
  return {rows, Tensor::from<std::int32_t>({b, t}, at)};
}

Var Model::embed(Context& ctx, const WaveCells& cells, const EmbeddingRows& rows, const Tensor& out) const {
  const bool drop = config_.dropout > 0 && ctx.training;
  const Tensor target = drop ? Tensor::empty(ctx.stream, out.shape(), out.dtype()) : out;
  const Var x = ops::embedding(ctx, {tokens_, memory_tokens_, positions_}, rows.rows, rows.position, target);
  if (!drop) return x;
  const Var dropped = ops::dropout(ctx, x, cells.number, config_.dropout, cells.dropout);
  out.copy_from(ctx.stream, dropped.value);
  return {out, dropped.id};
}

Model::WaveOutput Model::forward(Context& ctx, const WaveCells& cells, const Var& x, const std::vector<Var>& state,
                                 const State& state_out, const Tensor& out) const {
  if (!recurrent()) return {blocks_->forward(ctx, cells, x, out), {}};
  const ops::MemoryState memory{state[0], state[1]};
  const Var y = blocks_->forward(ctx, cells, memory_->read(ctx, cells, x, memory), out);
  const ops::MemoryState next = memory_->write(ctx, cells, y, memory, state_out[0], state_out[1]);
  return {y, {next.a, next.z}};
}

Tensor Model::forward_cached(Context& ctx, const WaveCells& cells, const Tensor& x, const std::vector<Var>& state,
                             const KeyValueCache& cache) const {
  const Tensor read = recurrent() ? memory_->read(ctx, cells, x, {state[0], state[1]}).value : x;
  return blocks_->forward_cached(ctx, read, cache);
}

Tensor Model::close_cached(Context& ctx, const WaveCells& cells, const Tensor& x, const std::vector<Var>& state,
                           const KeyValueCache& cache) const {
  WT_CHECK(recurrent(), "a model without memory has no segment to close");
  const Tensor y = forward_cached(ctx, cells, x, state, cache);
  memory_->write(ctx, cells, y, {state[0], state[1]}, state[0].value, state[1].value);
  return y;
}

KeyValueCache Model::new_cache(std::int64_t batch, std::int64_t rows) const {
  const Shape shape{config_.num_layers, batch, rows, config_.kv_heads(), config_.head_width()};
  return {Tensor::zeros(stream_, shape, dtype()), Tensor::zeros(stream_, shape, dtype()),
          Tensor::zeros(stream_, {batch}, DType::kI32)};
}

Var Model::head(Context& ctx, const Var& hidden) const {
  const std::int64_t r = hidden.value.dim(0);
  const Var rows(hidden.value.reshape({1, r, config_.hidden_size}), hidden.id);
  const Var normed = norm_bias_ != nullptr ? ops::layer_norm(ctx, rows, *norm_, *norm_bias_, config_.layer_norm_eps)
                                           : ops::rms_norm(ctx, rows, *norm_, config_.rms_norm_eps);
  const Var logits = ops::linear(ctx, normed, head_ != nullptr ? *head_ : *tokens_, {.wide_output = true});
  return {logits.value.reshape({r, config_.vocab_size}), logits.id};
}

}  // namespace wt
