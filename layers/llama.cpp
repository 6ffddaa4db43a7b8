// Llama's decoder layer (Touvron et al., arXiv 2302.13971; grouped-query attention as in Llama 2 and 3):
//   h = x + Wo · attention(rotary(Wqkv · norm1(x)))
//   y = h + Wdown · swiglu(Wgate_up · norm2(h))
// with biases behind the four products of attention (attention_bias) and of the feed-forward layer (mlp_bias).
#include "autograd/ops/activation.h"
#include "autograd/ops/add.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/norm.h"
#include "kernels/attention.h"
#include "kernels/linear_fused.h"
#include "kernels/rotary.h"
#include "layers/adapter.h"
#include "layers/blocks.h"
#include "layers/rotary_table.h"

namespace wt {
namespace {

class LlamaBlocks final : public Blocks {
 public:
  LlamaBlocks(const ModelConfig& config, const std::string& prefix, ParameterStore& store)
      : config_(config), heads_{config.num_heads, config.kv_heads(), config.head_width()}, tables_(config) {
    const std::int64_t d = config.hidden_size, f = config.mlp_width(), k = heads_.width;
    const std::int64_t q = heads_.query * k, kv = heads_.key_value * k;
    const Init init = Init::normal(config.init_std);
    const auto add = [&](const char* key, Shape shape, std::vector<PublishedPart> parts, bool decay) -> Parameter& {
      for (PublishedPart& part : parts) part.name = prefix + part.name;
      return store.add({std::string("layers.") + key, config.num_layers, shape, std::move(parts), decay});
    };
    norm1_ = &add("input_layernorm", {d}, {{"input_layernorm.weight", 0, d, Init::ones()}}, false);
    qkv_.weight = &add("self_attn.qkv", {q + 2 * kv, d},
                       {{"self_attn.q_proj.weight", 0, q, init},
                        {"self_attn.k_proj.weight", q, q + kv, init},
                        {"self_attn.v_proj.weight", q + kv, q + 2 * kv, init}},
                       true);
    o_.weight = &add("self_attn.o", {d, q}, {{"self_attn.o_proj.weight", 0, d, init}}, true);
    norm2_ = &add("post_attention_layernorm", {d}, {{"post_attention_layernorm.weight", 0, d, Init::ones()}}, false);
    gate_up_.weight = &add("mlp.gate_up", {2 * f, d},
                           {{"mlp.gate_proj.weight", 0, f, init}, {"mlp.up_proj.weight", f, 2 * f, init}}, true);
    down_.weight = &add("mlp.down", {d, f}, {{"mlp.down_proj.weight", 0, d, init}}, true);
    const Init zeros = Init::zeros();
    if (config.attention_bias) {
      qkv_.bias = &add("self_attn.qkv.bias", {q + 2 * kv},
                       {{"self_attn.q_proj.bias", 0, q, zeros},
                        {"self_attn.k_proj.bias", q, q + kv, zeros},
                        {"self_attn.v_proj.bias", q + kv, q + 2 * kv, zeros}},
                       false);
      o_.bias = &add("self_attn.o.bias", {d}, {{"self_attn.o_proj.bias", 0, d, zeros}}, false);
    }
    if (config.mlp_bias) {
      gate_up_.bias = &add("mlp.gate_up.bias", {2 * f},
                           {{"mlp.gate_proj.bias", 0, f, zeros}, {"mlp.up_proj.bias", f, 2 * f, zeros}}, false);
      down_.bias = &add("mlp.down.bias", {d}, {{"mlp.down_proj.bias", 0, d, zeros}}, false);
    }
    // Sites 1 and 2 are project()'s.
    int site = 3;
    for (Affine* affine : {&qkv_, &o_, &gate_up_, &down_}) {
      affine->adapter = Adapter::make(config, *affine->weight, kernels::WeightLayout::kOutIn, site++, store);
    }
  }

  Var forward(Context& ctx, const WaveCells& cells, const Var& x, const Tensor& out) const override {
    const Var qkv = affine(ctx, cells, ops::rms_norm(ctx, x, *norm1_, config_.rms_norm_eps), qkv_);
    const Shape& shape = x.value.shape();
    const RotaryAngles angles =
        tables_.of_segments(ctx.stream, {shape[0], shape[1]}, cells.lengths, shape[2], wide(x.value.dtype()));
    const Var turned = ops::rotary(ctx, qkv, heads_, angles.cos_sin, angles.first);
    const Var h = project(ctx, cells, 1, ops::attention(ctx, turned, heads_), o_, x, {});
    const Var gate_up = affine(ctx, cells, ops::rms_norm(ctx, h, *norm2_, config_.rms_norm_eps), gate_up_);
    return project(ctx, cells, 2, ops::swiglu(ctx, gate_up), down_, h, out);
  }

  Tensor forward_cached(Context& ctx, const Tensor& x, const KeyValueCache& cache) const override {
    const std::int64_t b = x.dim(1), t = x.dim(2);
    const Tensor rows = x.reshape({1, b * t, x.dim(3)});
    const Tensor qkv = step(ctx, rows, norm1_, qkv_, Step::kPlain).reshape({1, b, t, heads_.row_width()});
    const Tensor mixed = Tensor::empty(ctx.stream, {1, b * t, heads_.query * heads_.width}, x.dtype());
    Tensor cos_sin;  // what attention is still to turn by
    if (t > 1 && tables_.by_rows()) {
      const RotaryAngles angles = tables_.of_further_rows(ctx.stream, cache.before, cache.after, t, wide(x.dtype()));
      kernels::rotary(ctx.stream, qkv, heads_.query + heads_.key_value, angles.cos_sin, angles.first, false);
    } else {
      cos_sin = tables_.of_single_rows(ctx.stream, cache.keys.dim(2), wide(x.dtype()));
    }
    kernels::attention_cached(ctx.stream, qkv.select(0), heads_, cache.length, cache.keys.select(ctx.lo),
                              cache.values.select(ctx.lo), mixed.reshape({b, t, mixed.dim(2)}), cos_sin);
    const Tensor h = step(ctx, mixed, nullptr, o_, Step::kPlain, rows);
    const Tensor middle = step(ctx, h, norm2_, gate_up_, Step::kSwiglu);
    return step(ctx, middle, nullptr, down_, Step::kPlain, h).reshape(x.shape());
  }

 private:
  struct Affine {
    const Parameter* weight = nullptr;
    const Parameter* bias = nullptr;   // may be null
    std::unique_ptr<Adapter> adapter;  // may be null
  };

  // w · x [+ bias] [+ residual] [+ the adapter's share]
  static Var affine(Context& ctx, const WaveCells& cells, const Var& x, const Affine& a, const Var* residual = nullptr,
                    const Tensor& out = {}) {
    const Var y = ops::linear(ctx, x, *a.weight, {.bias = a.bias, .residual = residual, .out = out});
    return a.adapter ? a.adapter->apply(ctx, cells, x, y) : y;
  }

  // A product of a decoding step with what stands around it: [residual +] swiglu?( w · norm?(x) [+ bias] ), x (1, R,
  // I).
  enum class Step : std::uint8_t { kPlain, kSwiglu };
  Tensor step(Context& ctx, const Tensor& x, const Parameter* norm, const Affine& a, Step kind,
              const Tensor& residual = {}) const {
    const bool swiglu = kind == Step::kSwiglu;
    if (a.adapter != nullptr) {
      const Var in = norm != nullptr ? ops::rms_norm(ctx, x, *norm, config_.rms_norm_eps) : Var(x), rest(residual);
      const Var y = affine(ctx, {}, in, a, residual.defined() ? &rest : nullptr);
      return swiglu ? ops::swiglu(ctx, y).value : y.value;
    }
    const Tensor weight = a.weight->value_slice(ctx.lo, ctx.hi);
    kernels::FusedLinear parts{
        .eps = config_.rms_norm_eps, .swiglu = swiglu, .residual = residual, .constant_weight = true};
    if (norm != nullptr) parts.norm = norm->value_slice(ctx.lo, ctx.hi);
    if (a.bias != nullptr) parts.bias = a.bias->value_slice(ctx.lo, ctx.hi);
    const Tensor y = Tensor::empty(ctx.stream, {1, x.dim(1), weight.dim(1) / (swiglu ? 2 : 1)}, x.dtype());
    kernels::linear_fused(ctx.stream, x, weight, kernels::WeightLayout::kOutIn, parts, y);
    return y;
  }

  // residual + dropout(w · x [+ bias]). Without dropout the residual rides on the matrix product.
  Var project(Context& ctx, const WaveCells& cells, int site, const Var& x, const Affine& a, const Var& residual,
              const Tensor& out) const {
    if (config_.dropout == 0 || !ctx.training) return affine(ctx, cells, x, a, &residual, out);
    kernels::DropoutKey key = cells.dropout;
    key.site = site;
    const Var projected = affine(ctx, cells, x, a);
    return ops::add(ctx, ops::dropout(ctx, projected, cells.number, config_.dropout, key), residual, out);
  }

  ModelConfig config_;
  kernels::AttentionHeads heads_;
  RotaryTables tables_;
  Parameter *norm1_, *norm2_;
  Affine qkv_, o_, gate_up_, down_;
};

}  // namespace

std::unique_ptr<Blocks> make_llama_blocks(const ModelConfig& config, const std::string& prefix, ParameterStore& store) {
  return std::make_unique<LlamaBlocks>(config, prefix, store);
}

}  // namespace wt
