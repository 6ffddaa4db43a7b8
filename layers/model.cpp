#include "layers/model.h"

#include <algorithm>

#include "autograd/ops/activation.h"
#include "autograd/ops/embedding.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/norm.h"
#include "autograd/ops/rows.h"
#include "layers/adapter.h"

namespace wt {
namespace {

// RMT's rows: positions count all of them, and carried memory rows become zeros that the memory is added to.
EmbeddingRows rmt_rows(const Model& model, const Tensor& rows, const Tensor& first, bool has_positions) {
  const std::int64_t b = rows.dim(0), t = rows.dim(1), m = model.num_mem_tokens();
  std::vector<std::int32_t> ids = rows.to_vector<std::int32_t>(), position(ids.size(), -1), from, to_read, to_write;
  for (std::int64_t i = 0; i < b * t; ++i) {
    std::int32_t& id = ids[static_cast<std::size_t>(i)];
    if (id == kernels::kPaddingRow) continue;
    position[static_cast<std::size_t>(i)] =
        static_cast<std::int32_t>(i % t) + (first.defined() ? first.data<std::int32_t>()[i / t] : 0);
    if (id > model.carried_row(0)) continue;
    if (i % t < m) {
      from.push_back(static_cast<std::int32_t>(i / t * m + i % t));
      to_read.push_back(static_cast<std::int32_t>(i));
    } else {
      to_write.push_back(static_cast<std::int32_t>(i));
    }
    id = kernels::kPaddingRow;
  }
  // An open segment has no rows to write.
  WT_CHECK(to_write.empty() || to_write.size() == from.size(), "rmt: ", to_write.size(), " rows to write for ",
           from.size(), " carried ones");
  const auto list = [](const std::vector<std::int32_t>& values) {
    return values.empty() ? Tensor{} : Tensor::from<std::int32_t>({static_cast<std::int64_t>(values.size())}, values);
  };
  return {Tensor::from<std::int32_t>({b, t}, ids),
          has_positions ? Tensor::from<std::int32_t>({b, t}, position) : Tensor{}, list(from), list(to_read),
          list(to_write)};
}

}  // namespace

Model::Model(const ModelConfig& config, DType dtype, const Stream& stream, WeightUse use)
    : config_(config), stream_(stream), store_(dtype, stream, use) {
  WT_CHECK(config.vocab_size > 0 && config.hidden_size > 0 && config.num_layers > 0 && config.num_heads > 0,
           "model: vocab_size, hidden_size, num_layers and num_heads must be at least 1");
  const bool gpt2 = config.type == BackboneType::kGPT2;
  const std::int64_t v = config.vocab_size, d = config.hidden_size, m = config.num_mem_tokens();
  const Init init = Init::normal(config.init_std);
  const Init embedding = Init::normal(config.fresh_embedding_std());
  WT_CHECK(!(config.has_armt && config.has_rmt), "a model has armt or rmt, not both");
  const std::string outer = config.has_memory() ? "memory_cell.model." : "";
  const std::string base = outer + (gpt2 ? "transformer." : "model.");
  const std::string layer = base + (gpt2 ? "h.{l}." : "layers.{l}.");
  const auto add = [&](const std::string& key, const std::string& name, Shape shape, const Init& fresh,
                       bool decay) -> Parameter* {
    return &store_.add({key, 0, shape, {{name, 0, shape[0], fresh}}, decay});
  };
  if (config.has_armt) {
    WT_CHECK(config.armt.segment_size > 0 && m > 0 && config.armt.d_mem > 0 && config.armt.nu > 0,
             "armt: segment_size, num_mem_tokens, d_mem and nu must be at least 1");
  }
  if (config.has_rmt) {
    WT_CHECK(config.rmt.segment_size > 0 && m > 0, "rmt: segment_size and num_mem_tokens must be at least 1");
  }
  if (config.has_memory()) memory_tokens_ = add("memory", "memory_cell.memory", {m, d}, embedding, false);
  tokens_ = add("embed_tokens", base + (gpt2 ? "wte.weight" : "embed_tokens.weight"), {v, d}, embedding, true);
  if (gpt2) {
    positions_ =
        add("positions", base + "wpe.weight", {config.max_positions + (config.has_armt ? m : 0), d}, embedding, true);
  }
  if (config.has_armt) memory_ = std::make_unique<AssociativeMemory>(config, layer, store_);
  const std::string block = layer + (config.has_armt ? "layer." : "");
  blocks_ = gpt2 ? make_gpt2_blocks(config, block, store_) : make_llama_blocks(config, block, store_);
  if (config.has_lora) {
    const auto unmatched = find_unmatched_target(config.lora, store_);
    WT_CHECK(!unmatched, "lora: target ", unmatched->second);
    WT_CHECK(!config.lora.targets.empty(), "lora: no targets");
  }
  norm_ = add("norm", base + (gpt2 ? "ln_f.weight" : "norm.weight"), {d}, Init::ones(), false);
  if (gpt2) norm_bias_ = add("norm.bias", base + "ln_f.bias", {d}, Init::zeros(), false);
  if (!config.tie_word_embeddings) head_ = add("lm_head", outer + "lm_head.weight", {v, d}, init, true);
}

std::int64_t Model::segment_size(std::int64_t sequence_length) const {
  return recurrent() ? config_.segment_size() : std::max<std::int64_t>(sequence_length, 1);
}

std::int64_t Model::max_segment_tokens() const {
  const std::int64_t rows = blocks_->max_rows();
  // GPT-2's table has room for tokens alone; RMT, as published, shares it between tokens and memory.
  const std::int64_t tokens = rows > 0 && carries_rows() ? rows - memory_rows() : rows;
  if (config_.window == 0 || recurrent()) return tokens;
  return tokens > 0 ? std::min(tokens, config_.window) : config_.window;
}

std::vector<StateSpec> Model::state_specs() const {
  if (memory_ == nullptr) return {};
  const std::int64_t p = config_.armt.num_features();
  return {{"W_mem.{l}", {p, config_.hidden_size}}, {"z.{l}", {p}}};
}

State Model::new_state(std::int64_t batch) const {
  if (carries_rows()) {
    return {Tensor::zeros(stream_, {1, batch, num_mem_tokens(), config_.hidden_size}, dtype())};
  }
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
  for (Tensor* list : {&out.carried_from, &out.carried_to_read, &out.carried_to_write}) {
    if (list->defined()) *list = list->to(stream);
  }
  return out;
}

void EmbeddingRows::copy_from(const Stream& stream, const EmbeddingRows& source) const {
  if (rows.defined()) rows.copy_from(stream, source.rows);
  if (position.defined()) position.copy_from(stream, source.position);
  if (!carried_from.defined()) return;
  carried_from.copy_from(stream, source.carried_from);
  carried_to_read.copy_from(stream, source.carried_to_read);
  carried_to_write.copy_from(stream, source.carried_to_write);
}

std::int32_t Model::carried_row(std::int32_t j) const {
  return kernels::memory_row(static_cast<std::int32_t>(num_mem_tokens()) + j);
}

EmbeddingRows Model::embedding_rows(const Tensor& rows, const Tensor& first) const {
  if (carries_rows()) return rmt_rows(*this, rows, first, positions_ != nullptr);
  if (positions_ == nullptr) return {rows, {}, {}, {}, {}};
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
  return {rows, Tensor::from<std::int32_t>({b, t}, at), {}, {}, {}};
}

Var Model::embed(Context& ctx, const WaveCells& cells, const EmbeddingRows& rows, const Tensor& out,
                 const Var& carried) const {
  const bool drop = config_.dropout > 0 && ctx.training;
  const Tensor target = drop ? Tensor::empty(ctx.stream, out.shape(), out.dtype()) : out;
  Var x = ops::embedding(ctx, {tokens_, memory_tokens_, positions_}, rows.rows, rows.position, target);
  if (rows.carried_from.defined()) {
    x = ops::add_rows(ctx, x, carried, rows.carried_from, rows.carried_to_read);
    if (rows.carried_to_write.defined()) {
      x = ops::add_rows(ctx, x, carried, rows.carried_from, rows.carried_to_write);
    }
  }
  if (!drop) return x;
  const Var dropped = ops::dropout(ctx, x, cells.number, config_.dropout, cells.dropout);
  out.copy_from(ctx.stream, dropped.value);
  return {out, dropped.id};
}

Model::WaveOutput Model::forward(Context& ctx, const WaveCells& cells, const Var& x, const std::vector<Var>& state,
                                 const State& state_out, const Tensor& out) const {
  if (memory_ == nullptr) return {blocks_->forward(ctx, cells, x, out), {}};
  const ops::MemoryState memory{state[0], state[1]};
  const Var y = blocks_->forward(ctx, cells, memory_->read(ctx, cells, x, memory), out);
  const ops::MemoryState next = memory_->write(ctx, cells, y, memory, state_out[0], state_out[1]);
  return {y, {next.a, next.z}};
}

Tensor Model::forward_cached(Context& ctx, const WaveCells& cells, const Tensor& x, const std::vector<Var>& state,
                             const KeyValueCache& cache) const {
  const Tensor read = memory_ != nullptr ? memory_->read(ctx, cells, x, {state[0], state[1]}).value : x;
  return blocks_->forward_cached(ctx, read, cache);
}

Tensor Model::close_cached(Context& ctx, const WaveCells& cells, const Tensor& x, const std::vector<Var>& state,
                           const KeyValueCache& cache) const {
  WT_CHECK(recurrent(), "a model without memory has no segment to close");
  const Tensor y = forward_cached(ctx, cells, x, state, cache);
  if (memory_ != nullptr) memory_->write(ctx, cells, y, {state[0], state[1]}, state[0].value, state[1].value);
  return y;
}

KeyValueCache Model::new_cache(std::int64_t batch, std::int64_t rows) const {
  const Shape shape{config_.num_layers, batch, rows, config_.kv_heads(), config_.head_width()};
  return {Tensor::zeros(stream_, shape, dtype()), Tensor::zeros(stream_, shape, dtype()),
          Tensor::zeros(stream_, {batch}, DType::kI32)};
}

Var Model::final_norm(Context& ctx, const Var& rows) const {
  return norm_bias_ != nullptr ? ops::layer_norm(ctx, rows, *norm_, *norm_bias_, config_.layer_norm_eps)
                               : ops::rms_norm(ctx, rows, *norm_, config_.rms_norm_eps);
}

Var Model::carry(Context& ctx, const WaveCells& cells, const Var& y) const {
  return final_norm(ctx, ops::take_rows(ctx, y, cells.memory_first, num_mem_tokens()));
}

Var Model::head(Context& ctx, const Var& hidden) const {
  const std::int64_t r = hidden.value.dim(0);
  const Var rows(hidden.value.reshape({1, r, config_.hidden_size}), hidden.id);
  const Var normed = final_norm(ctx, rows);
  const Var logits = ops::linear(ctx, normed, head_ != nullptr ? *head_ : *tokens_, {.wide_output = true});
  return {logits.value.reshape({r, config_.vocab_size}), logits.id};
}

}  // namespace wt
