// Llama's decoder layer (Touvron et al., arXiv 2302.13971; grouped-query attention as in Llama 2 and 3):
//   h = x + Wo · attention(rotary(Wqkv · norm1(x)))
//   y = h + Wdown · swiglu(Wgate_up · norm2(h))
// with biases behind the four products of attention (attention_bias) and of the feed-forward layer (mlp_bias).
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
        frequencies_(frequencies(config.segment_rows())) {
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
    const Init zeros = Init::zeros();
    if (config.attention_bias) {
      qkv_bias_ = &add("self_attn.qkv.bias", {q + 2 * kv},
                       {{"self_attn.q_proj.bias", 0, q, zeros},
                        {"self_attn.k_proj.bias", q, q + kv, zeros},
                        {"self_attn.v_proj.bias", q + kv, q + 2 * kv, zeros}},
                       false);
      o_bias_ = &add("self_attn.o.bias", {d}, {{"self_attn.o_proj.bias", 0, d, zeros}}, false);
    }
    if (config.mlp_bias) {
      gate_up_bias_ = &add("mlp.gate_up.bias", {2 * f},
                           {{"mlp.gate_proj.bias", 0, f, zeros}, {"mlp.up_proj.bias", f, 2 * f, zeros}}, false);
      down_bias_ = &add("mlp.down.bias", {d}, {{"mlp.down_proj.bias", 0, d, zeros}}, false);
    }
  }

  Var forward(Context& ctx, const WaveCells& cells, const Var& x, const Tensor& out) const override {
    const Var qkv = ops::linear(ctx, ops::rms_norm(ctx, x, *norm1_, config_.rms_norm_eps), *qkv_, {.bias = qkv_bias_});
    const Var turned = ops::rotary(ctx, qkv, heads_, table(ctx, x.value.dim(2), wide(x.value.dtype())));
    const Var h = project(ctx, cells, 1, ops::attention(ctx, turned, heads_), {o_, o_bias_}, x, {});
    const Var gate_up =
        ops::linear(ctx, ops::rms_norm(ctx, h, *norm2_, config_.rms_norm_eps), *gate_up_, {.bias = gate_up_bias_});
    return project(ctx, cells, 2, ops::swiglu(ctx, gate_up), {down_, down_bias_}, h, out);
  }

  Tensor forward_cached(Context& ctx, const Tensor& x, const KeyValueCache& cache) const override {
    const std::int64_t b = x.dim(1), t = x.dim(2);
    const Tensor rows = x.reshape({1, b * t, x.dim(3)});
    const auto fused = [&](const Tensor& in, const Affine& a, std::int64_t width, kernels::FusedLinear parts) {
      const Tensor out = Tensor::empty(ctx.stream, {1, b * t, width}, x.dtype());
      if (a.bias != nullptr) parts.bias = a.bias->value_slice(ctx.lo, ctx.hi);
      parts.eps = config_.rms_norm_eps;
      kernels::linear_fused(ctx.stream, in, a.weight->value_slice(ctx.lo, ctx.hi), kernels::WeightLayout::kOutIn, parts,
                            out);
      return out;
    };
    const auto norm = [&](const Parameter& p) { return p.value_slice(ctx.lo, ctx.hi); };
    const std::int64_t d = config_.hidden_size;
    const Tensor qkv = fused(rows, {qkv_, qkv_bias_}, heads_.row_width(), {.norm = norm(*norm1_)})
                           .reshape({1, b, t, heads_.row_width()});
    kernels::rotary(ctx.stream, qkv, heads_.query + heads_.key_value, table(ctx, cache.keys.dim(2), wide(x.dtype())),
                    cache.length, false);
    const Tensor mixed = Tensor::empty(ctx.stream, {b, t, heads_.query * heads_.width}, x.dtype());
    kernels::attention_cached(ctx.stream, qkv.select(0), heads_, cache.length, cache.keys.select(ctx.lo),
                              cache.values.select(ctx.lo), mixed);
    const Tensor h = fused(mixed.reshape({1, b * t, mixed.dim(2)}), {o_, o_bias_}, d, {.residual = rows});
    const Tensor middle =
        fused(h, {gate_up_, gate_up_bias_}, config_.mlp_width(), {.norm = norm(*norm2_), .swiglu = true});
    return fused(middle, {down_, down_bias_}, d, {.residual = h}).reshape(x.shape());
  }

 private:
  struct Affine {
    const Parameter *weight, *bias;  // the bias may be null
  };

  // residual + dropout(w · x [+ bias]). Without dropout the residual rides on the matrix product.
  Var project(Context& ctx, const WaveCells& cells, int site, const Var& x, const Affine& a, const Var& residual,
              const Tensor& out) const {
    if (config_.dropout == 0 || !ctx.training) {
      return ops::linear(ctx, x, *a.weight, {.bias = a.bias, .residual = &residual, .out = out});
    }
    kernels::DropoutKey key = cells.dropout;
    key.site = site;
    const Var projected = ops::linear(ctx, x, *a.weight, {.bias = a.bias});
    return ops::add(ctx, ops::dropout(ctx, projected, cells.number, config_.dropout, key), residual, out);
  }

  std::vector<double> frequencies(std::int64_t rows) const {
    return rotary_frequencies(config_.rope_theta, config_.head_width(), config_.rope_scaling, rows);
  }

  // The rotary table, at least `rows` long. It grows with the longest segment seen. Dynamic scaling without a memory
  // goes by the rows of this very call, so that each length has a table of its own.
  Tensor table(const Context& ctx, std::int64_t rows, DType dtype) const {
    const std::lock_guard lock(mutex_);
    const bool by_rows = config_.rope_scaling.type == "dynamic" && config_.segment_rows() == 0;
    if (!table_.defined() || table_.dim(0) < rows || (by_rows && table_.dim(0) != rows)) {
      // Recorded decoding steps still read the shorter one.
      if (table_.defined() && !by_rows) outgrown_.push_back(table_);
      table_ = rotary_table(ctx.stream, by_rows ? frequencies(rows) : frequencies_, rows, dtype);
    }
    return table_;
  }

  ModelConfig config_;
  kernels::AttentionHeads heads_;
  std::vector<double> frequencies_;
  Parameter *norm1_, *qkv_, *o_, *norm2_, *gate_up_, *down_;
  Parameter *qkv_bias_ = nullptr, *o_bias_ = nullptr, *gate_up_bias_ = nullptr, *down_bias_ = nullptr;
  mutable std::mutex mutex_;
  mutable Tensor table_;
  mutable std::vector<Tensor> outgrown_;
};

}  // namespace

std::unique_ptr<Blocks> make_llama_blocks(const ModelConfig& config, const std::string& prefix, ParameterStore& store) {
  return std::make_unique<LlamaBlocks>(config, prefix, store);
}

}  // namespace wt
