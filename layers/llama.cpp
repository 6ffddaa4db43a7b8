// Llama's decoder layer (Touvron et al., arXiv 2302.13971; grouped-query attention as in Llama 2 and 3):
//   h = x + Wo · attention(rotary(Wqkv · norm1(x)))
//   y = h + Wdown · swiglu(Wgate_up · norm2(h))
#include <mutex>

#include "autograd/ops/activation.h"
#include "autograd/ops/add.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/norm.h"
#include "kernels/linear_fused.h"
#include "kernels/rotary.h"
#include "layers/blocks.h"
#include "layers/rotary_table.h"

namespace wt {
namespace {

class LlamaBlocks final : public Blocks {
 public:
  LlamaBlocks(const ModelConfig& config, const std::string& prefix, ParameterStore& store)
      : config_(config),
        heads_{config.num_heads, config.kv_heads(), config.head_width()},
        frequencies_(rotary_frequencies(config.rope_theta, config.head_width(), config.rope_scaling)) {
    WT_CHECK(!config.attention_bias && !config.mlp_bias, "llama: attention_bias and mlp_bias are not supported");
    const std::int64_t d = config.hidden_size, f = config.mlp_width(), k = heads_.width;
    const std::int64_t q = heads_.query * k, kv = heads_.key_value * k;
    const Init init = Init::normal(config.init_std);
    const auto add = [&](const char* key, Shape shape, std::vector<PublishedPart> parts, bool decay) -> Parameter& {
      for (PublishedPart& part : parts) part.name = prefix + part.name;
      return store.add({std::string("layers.") + key, config.num_layers, shape, std::move(parts), decay});
    };
    norm1_ = &add("input_layernorm", {d}, {{"input_layernorm.weight", 0, d, Init::ones()}}, false);
    qkv_ = &add("self_attn.qkv", {q + 2 * kv, d},
                {{"self_attn.q_proj.weight", 0, q, init},
                 {"self_attn.k_proj.weight", q, q + kv, init},
                 {"self_attn.v_proj.weight", q + kv, q + 2 * kv, init}},
                true);
    o_ = &add("self_attn.o", {d, q}, {{"self_attn.o_proj.weight", 0, d, init}}, true);
    norm2_ = &add("post_attention_layernorm", {d}, {{"post_attention_layernorm.weight", 0, d, Init::ones()}}, false);
    gate_up_ = &add("mlp.gate_up", {2 * f, d},
                    {{"mlp.gate_proj.weight", 0, f, init}, {"mlp.up_proj.weight", f, 2 * f, init}}, true);
    down_ = &add("mlp.down", {d, f}, {{"mlp.down_proj.weight", 0, d, init}}, true);
  }

  Var forward(Context& ctx, const WaveCells& cells, const Var& x, const Tensor& out) const override {
    const Var qkv = ops::linear(ctx, ops::rms_norm(ctx, x, *norm1_, config_.rms_norm_eps), *qkv_);
    const Var turned = ops::rotary(ctx, qkv, heads_, table(ctx, x.value.dim(2), wide(x.value.dtype())));
    const Var h = project(ctx, cells, 1, ops::attention(ctx, turned, heads_), *o_, x, {});
    const Var gate_up = ops::linear(ctx, ops::rms_norm(ctx, h, *norm2_, config_.rms_norm_eps), *gate_up_);
    return project(ctx, cells, 2, ops::swiglu(ctx, gate_up), *down_, h, out);
  }

  Tensor forward_cached(Context& ctx, const Tensor& x, const KeyValueCache& cache) const override {
    const std::int64_t b = x.dim(1), t = x.dim(2);
    const Tensor rows = x.reshape({1, b * t, x.dim(3)});
    const auto fused = [&](const Tensor& in, const Parameter& w, std::int64_t width, kernels::FusedLinear parts) {
      const Tensor out = Tensor::empty(ctx.stream, {1, b * t, width}, x.dtype());
      parts.eps = config_.rms_norm_eps;
      kernels::linear_fused(ctx.stream, in, w.value_slice(ctx.lo, ctx.hi), kernels::WeightLayout::kOutIn, parts, out);
      return out;
    };
    const auto norm = [&](const Parameter& p) { return p.value_slice(ctx.lo, ctx.hi); };
    const std::int64_t d = config_.hidden_size;
    const Tensor qkv =
        fused(rows, *qkv_, heads_.row_width(), {.norm = norm(*norm1_)}).reshape({1, b, t, heads_.row_width()});
    kernels::rotary(ctx.stream, qkv, heads_.query + heads_.key_value, table(ctx, cache.keys.dim(2), wide(x.dtype())),
                    cache.length, false);
    const Tensor mixed = Tensor::empty(ctx.stream, {b, t, heads_.query * heads_.width}, x.dtype());
    kernels::attention_cached(ctx.stream, qkv.select(0), heads_, cache.length, cache.keys.select(ctx.lo),
                              cache.values.select(ctx.lo), mixed);
    const Tensor h = fused(mixed.reshape({1, b * t, mixed.dim(2)}), *o_, d, {.residual = rows});
    const Tensor middle = fused(h, *gate_up_, config_.mlp_width(), {.norm = norm(*norm2_), .swiglu = true});
    return fused(middle, *down_, d, {.residual = h}).reshape(x.shape());
  }

 private:
  // residual + dropout(w · x). Without dropout the residual rides on the matrix product.
  Var project(Context& ctx, const WaveCells& cells, int site, const Var& x, const Parameter& w, const Var& residual,
              const Tensor& out) const {
    if (config_.dropout == 0 || !ctx.training) return ops::linear(ctx, x, w, {.residual = &residual, .out = out});
    kernels::DropoutKey key = cells.dropout;
    key.site = site;
    return ops::add(ctx, ops::dropout(ctx, ops::linear(ctx, x, w), cells.number, config_.dropout, key), residual, out);
  }

  // The rotary table, at least `rows` long. It grows with the longest segment seen.
  Tensor table(const Context& ctx, std::int64_t rows, DType dtype) const {
    const std::lock_guard lock(mutex_);
    if (!table_.defined() || table_.dim(0) < rows) table_ = rotary_table(ctx.stream, frequencies_, rows, dtype);
    return table_;
  }

  ModelConfig config_;
  kernels::AttentionHeads heads_;
  std::vector<double> frequencies_;
  Parameter *norm1_, *qkv_, *o_, *norm2_, *gate_up_, *down_;
  mutable std::mutex mutex_;
  mutable Tensor table_;
};

}  // namespace

std::unique_ptr<Blocks> make_llama_blocks(const ModelConfig& config, const std::string& prefix, ParameterStore& store) {
  return std::make_unique<LlamaBlocks>(config, prefix, store);
}

}  // namespace wt
