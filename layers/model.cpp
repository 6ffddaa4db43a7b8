#include "layers/model.h"

#include <algorithm>

#include "autograd/ops/activation.h"
#include "autograd/ops/embedding.h"
#include "autograd/ops/linear.h"
#include "layers/builder.h"
#include "layers/families/family.h"

namespace wt {
namespace {

std::string kind_key(const ModelConfig& config, std::size_t kind) {
  return config.kinds.size() == 1 ? "layers." : cat("layers.", config.kinds[kind].name, ".");
}

void check(const ModelConfig& c) {
  WT_CHECK(c.vocab_size > 0 && c.hidden_size > 0 && c.num_layers > 0,
           "model: vocab_size, hidden_size and num_layers must be at least 1");
  WT_CHECK(!c.armt || !c.rmt, "a model has armt or rmt, not both");
  if (c.armt) {
    WT_CHECK(c.armt->segment_size > 0 && c.armt->num_mem_tokens > 0 && c.armt->d_mem > 0 && c.armt->nu > 0,
             "armt: segment_size, num_mem_tokens, d_mem and nu must be at least 1");
  }
  if (c.rmt) {
    WT_CHECK(c.rmt->segment_size > 0 && c.rmt->num_mem_tokens > 0,
             "rmt: segment_size and num_mem_tokens must be at least 1");
  }
  WT_CHECK(!c.lora || !c.lora->targets.empty(), "lora: no targets");
  ModelConfig fixed = c;
  family_of(c).fix(fixed);
  WT_CHECK(fixed == c, "model: what the family ", c.family, " fixes is something else: begin with new_config(\"",
           c.family, "\")");
  check_model(c, [](const std::string& key, const std::string& what) { throw Error(cat("model: ", key, ": ", what)); });
}

}  // namespace

Model::Model(const ModelConfig& config, DType dtype, const Stream& stream, WeightUse use)
    : config_(config),
      stream_(stream),
      store_(dtype, stream, use),
      layout_(config.segment_layout()),
      kinds_((check(config), config.kind_of_layer()), stream) {
  const std::int64_t v = config.vocab_size, d = config.hidden_size, m = config.num_mem_tokens();
  const ModelNames& names = config.names;
  const Init embedding = Init::normal(config.fresh_embedding_std());
  const std::string outer = config.has_memory() ? "memory_cell.model." : "", base = outer + names.base;
  const Builder whole(store_, config, {}, "", ""), of_memory(store_, config, {}, "", "", Role::kMemory);
  const std::vector<int> all = all_layers(config.num_layers);

  if (config.has_memory()) {
    memory_tokens_ = &of_memory.add("memory", "memory_cell.memory", {m, d}, embedding, false);
  }
  tokens_ = &whole.add("embed_tokens", base + names.tokens + ".weight", {v, d}, embedding, true);
  if (layout_.positions > 0) {
    positions_ = &whole.add("positions", base + names.positions + ".weight", {layout_.positions, d}, embedding, true);
  }
  const std::string layer = base + names.layer, block = layer + (config.armt ? "layer." : "");
  if (config.armt) memory_.emplace(*config.armt, Builder(store_, config, all, "layers.", layer, Role::kMemory));
  if (memory_) {
    for (StateSpec& spec : memory_->state_specs(d, wide(dtype))) {
      spec.layers = all;
      specs_.push_back(std::move(spec));
    }
  }
  if (config.rmt) specs_.push_back(recurrent_rows_spec(*config.rmt, d, dtype));
  const Builder builder(store_, config, all, "layers.", block);
  norm1_.emplace(builder, "mixer_norm", names.mixer_norm);
  for (std::size_t kind = 0; kind < config.kinds.size(); ++kind) {
    const std::vector<int>& stack = kinds_.layers(static_cast<int>(kind));
    const Builder of_kind(store_, config, stack, kind_key(config, kind), block);
    mixers_.push_back(
        std::visit([&](const auto& mixer) { return make_mixer(mixer, of_kind); }, config.kinds[kind].mixer));
    specs_of_kind_.push_back(specs_.size());
    for (StateSpec spec : mixers_.back()->state_specs()) {
      spec.layers = stack;
      specs_.push_back(std::move(spec));
    }
  }
  if (config.feed_forward.kind != FeedForwardConfig::Kind::kNone) {
    norm2_.emplace(builder, "feed_forward_norm", names.feed_forward_norm);
    feed_forward_.emplace(builder, config.feed_forward);
  }
  norm_.emplace(Builder(store_, config, {}, "", base), "norm", names.norm);
  if (!config.tie_word_embeddings) {
    head_ = &whole.add("lm_head", outer + names.head + ".weight", {v, d}, Init::normal(config.init_std), true);
  }
  if (config.lora) {
    const auto unmatched = find_unmatched_target(*config.lora, store_);
    WT_CHECK(!unmatched, "lora: target ", unmatched->second);
  }
}

std::int64_t Model::segment_size(std::int64_t sequence_length) const {
  return recurrent() ? config_.segment_size() : std::max<std::int64_t>(sequence_length, 1);
}

bool Model::state_grows() const {
  return std::any_of(specs_.begin(), specs_.end(), [](const StateSpec& spec) { return spec.grows() && !spec.open; });
}

void Model::read_by(std::int64_t tokens) {
  const bool all_carry = std::all_of(config_.kinds.begin(), config_.kinds.end(), [](const KindConfig& kind) {
    return std::holds_alternative<Mamba2Config>(kind.mixer) ||
           std::visit([](const auto& mixer) { return carries_text(mixer); }, kind.mixer);
  });
  WT_CHECK(all_carry && !config_.has_memory() && tokens > 0, "model: segments of ", tokens,
           " tokens are for layers that carry a text's state");
  set_segment_size(config_, tokens);
}

std::int64_t Model::closed_rows(std::int64_t tokens) const {
  return recurrent() ? tokens / config_.segment_size() * layout_.rows(config_.segment_size()) : 0;
}

std::int64_t Model::max_segment_tokens() const {
  // GPT-2's table has room for tokens alone; RMT, as published, shares it between tokens and memory.
  const std::int64_t tokens =
      layout_.positions == 0 ? 0 : config_.max_positions - (layout_.carries ? layout_.memory_rows() : 0);
  if (config_.window == 0 || recurrent()) return tokens;
  return tokens > 0 ? std::min(tokens, config_.window) : config_.window;
}

std::optional<std::size_t> Model::own_state() const {
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    if (specs_[i].layers.empty()) return i;
  }
  return std::nullopt;
}

std::shared_ptr<const std::vector<Tensor>> Model::constants(std::int64_t rows, bool open) const {
  auto all = std::make_shared<std::vector<Tensor>>();
  for (const auto& mixer : mixers_) all->push_back(mixer->constants(rows, open));
  return all;
}

Var Model::embed(Context& ctx, const WaveCells& cells, const EmbeddingRows& rows, const Tensor& out,
                 const Var& carried) const {
  const bool drop = config_.dropout > 0 && ctx.training;
  const Tensor target = drop ? Tensor::empty(ctx.stream, out.shape(), out.dtype()) : out;
  Var x = ops::embedding(ctx, {tokens_, memory_tokens_, positions_}, rows.rows, rows.position, target);
  if (rows.carried_from.defined()) x = put_recurrent_rows(ctx, rows, x, carried);
  if (!drop) return x;
  const Var dropped = ops::dropout(ctx, x, cells.number, config_.dropout, cells.dropout);
  out.copy_from(ctx.stream, dropped.value);
  return {out, dropped.id};
}

Var Model::carry(Context& ctx, const WaveCells& cells, const Var& y) const {
  return take_recurrent_rows(ctx, cells, *norm_, y, config_.num_mem_tokens());
}

Model::WaveOutput Model::forward(Context& ctx, const WaveCells& cells, const Var& x, const std::vector<Var>& state,
                                 const std::vector<Tensor>& state_out, const Tensor& out) const {
  WaveOutput output{{}, state};
  const Var read = memory_ ? memory_->read(ctx, cells, x, {state[0], state[1]}) : x;
  if (feed_forward_) {
    const Mixed mixed = mix(ctx, cells, read, state, state_out, output.state);
    output.y = (*feed_forward_)(ctx, cells, mixed.normed, mixed.h, out);
  } else {
    output.y = mix_alone(ctx, cells, read, state, state_out, out, output.state);
  }
  if (memory_ && cells.write) {
    const ops::MemoryState next =
        memory_->write(ctx, cells, output.y, {state[0], state[1]}, state_out[0], state_out[1]);
    output.state[0] = next.a;
    output.state[1] = next.z;
  }
  return output;
}

// norm(x), where nothing is recorded left to the products that follow.
Normed Model::normed_by(Context& ctx, const Norm& norm, const Var& x) {
  return !ctx.recording() && norm.fuses() ? Normed(x, norm, ctx) : Normed(norm(ctx, x));
}

// x + mix(norm1(x)) of a wave whose layers are of one kind, written to `out`.
Var Model::mix_alone(Context& ctx, const WaveCells& cells, const Var& x, const std::vector<Var>& state,
                     const std::vector<Tensor>& state_out, const Tensor& out, std::vector<Var>& next) const {
  const LayerGroup& group = kinds_.groups(ctx.lo, ctx.hi).front();
  return mix_group(ctx, cells, group, normed_by(ctx, *norm1_, x), &x, state, state_out, out, next);
}

// x + mix(norm1(x)), and its norm. Where all layers of the wave are of one kind the residual rides on the mixer's last
// product; else the mixers write their shares side by side, in the order of kinds, and one more pass adds them up.
Model::Mixed Model::mix(Context& ctx, const WaveCells& cells, const Var& x, const std::vector<Var>& state,
                        const std::vector<Tensor>& state_out, std::vector<Var>& next) const {
  const std::vector<LayerGroup>& groups = kinds_.groups(ctx.lo, ctx.hi);
  if (groups.size() == 1) {
    const Var h = mix_alone(ctx, cells, x, state, state_out, {}, next);
    return {h, normed_by(ctx, *norm2_, h)};
  }
  const Tensor& order = kinds_.order(ctx.lo, ctx.hi);
  std::vector<std::int64_t> sizes;
  for (const LayerGroup& group : groups) sizes.push_back(group.size());
  const std::vector<Var> normed = split(ctx, (*norm1_)(ctx, x, order), sizes);
  const Tensor delta = Tensor::empty(ctx.stream, x.value.shape(), x.value.dtype());
  std::vector<Var> shares;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const Tensor part = delta.slice(groups[i].at, groups[i].at + groups[i].size());
    shares.push_back(mix_group(ctx, cells, groups[i], normed[i], nullptr, state, state_out, part, next));
  }
  const auto [h, n] = norm2_->of_sum(ctx, x, join(ctx, delta, shares), order);
  return {h, n};
}

Var Model::mix_group(Context& ctx, const WaveCells& cells, const LayerGroup& group, const Normed& x,
                     const Var* residual, const std::vector<Var>& state, const std::vector<Tensor>& state_out,
                     const Tensor& out, std::vector<Var>& next) const {
  const auto kind = static_cast<std::size_t>(group.kind);
  const std::size_t begin = specs_of_kind_[kind];
  const std::size_t end = begin + mixers_[kind]->state_specs().size();
  const auto part = [&](const auto& list) {
    return std::vector(list.begin() + static_cast<std::ptrdiff_t>(begin),
                       list.begin() + static_cast<std::ptrdiff_t>(end));
  };
  Context inner = ctx;
  inner.lo = group.lo;
  inner.hi = group.hi;
  WaveCells own;
  const bool shared = kinds_.count() == 1;
  if (!shared) {
    own = cells.slice_by_kind(group.at, group.at + group.size());
    own.kind = group.kind;
  }
  const Mixer::Output output =
      mixers_[kind]->forward(inner, shared ? cells : own, x, residual, part(state), part(state_out), out);
  std::copy(output.state.begin(), output.state.end(), next.begin() + static_cast<std::ptrdiff_t>(begin));
  return output.y;
}

Var Model::head(Context& ctx, const Var& hidden) const {
  const std::int64_t r = hidden.value.dim(0);
  const Var rows(hidden.value.reshape({1, r, config_.hidden_size}), hidden.id);
  const Var normed = (*norm_)(ctx, rows);
  const Var logits = ops::linear(ctx, normed, head_ != nullptr ? *head_ : *tokens_, {.wide_output = true});
  return {logits.value.reshape({r, config_.vocab_size}), logits.id};
}

Cost Model::cost(int layer, std::int64_t rows, std::int64_t past) const {
  const std::int64_t d = config_.hidden_size;
  // Input and middle, and the norms' two factors.
  Cost cost{0, feed_forward_ ? rows * (2 * d + 2) : rows * (d + 1)};
  const int kind = kinds_.groups(layer, layer + 1).front().kind;
  cost += mixers_[static_cast<std::size_t>(kind)]->cost(rows, past);
  if (feed_forward_) cost += feed_forward_->cost(rows);
  if (memory_) cost += memory_->cost(d, rows, past);
  return cost;
}

double Model::head_flops(std::int64_t rows) const {
  return 2.0 * static_cast<double>(config_.hidden_size) * static_cast<double>(config_.vocab_size) *
         static_cast<double>(rows);
}

}  // namespace wt
