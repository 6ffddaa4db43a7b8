// GPT-2's block (Radford et al., 2019), pre-norm, with biases; its matrices are stored (in, out):
//   h = x + Wproj · attention(Wqkv · ln1(x))
//   y = h + Wproj2 · gelu(Wfc · ln2(h))
// Positions are added to the embeddings (layers/model.cpp), not here.
#include <cmath>

#include "autograd/ops/activation.h"
#include "autograd/ops/add.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/norm.h"
#include "layers/adapter.h"
#include "layers/blocks.h"

namespace wt {
namespace {

class Gpt2Blocks final : public Blocks {
 public:
  Gpt2Blocks(const ModelConfig& config, const std::string& prefix, ParameterStore& store)
      : config_(config), heads_{config.num_heads, config.num_heads, config.hidden_size / config.num_heads} {
    WT_CHECK(config.hidden_size % config.num_heads == 0, "gpt2: hidden_size ", config.hidden_size,
             " is not a multiple of num_heads ", config.num_heads);
    const std::int64_t d = config.hidden_size, f = config.mlp_width();
    const Init init = Init::normal(config.init_std);
    // The projections back into the residual stream start smaller the deeper the model, as in GPT-2.
    const Init back = Init::normal(config.init_std / std::sqrt(2.0 * static_cast<double>(config.num_layers)));
    const auto add = [&](const std::string& key, Shape shape, const Init& fresh, bool decay) -> Parameter& {
      return store.add({"layers." + key, config.num_layers, shape, {{prefix + key, 0, shape[0], fresh}}, decay});
    };
    const auto add_norm = [&](const std::string& key) -> Norm {
      return {&add(key + ".weight", {d}, Init::ones(), false), &add(key + ".bias", {d}, Init::zeros(), false)};
    };
    const auto add_linear = [&](const std::string& key, std::int64_t in, std::int64_t out,
                                const Init& fresh) -> Affine {
      return {&add(key + ".weight", {in, out}, fresh, true), &add(key + ".bias", {out}, Init::zeros(), false), nullptr};
    };
    ln1_ = add_norm("ln_1");
    qkv_ = add_linear("attn.c_attn", d, 3 * d, init);
    proj_ = add_linear("attn.c_proj", d, d, back);
    ln2_ = add_norm("ln_2");
    fc_ = add_linear("mlp.c_fc", d, f, init);
    proj2_ = add_linear("mlp.c_proj", f, d, back);
    // Sites 1 and 2 are project()'s.
    int site = 3;
    for (Affine* affine : {&qkv_, &proj_, &fc_, &proj2_}) {
      affine->adapter = Adapter::make(config, *affine->weight, kernels::WeightLayout::kInOut, site++, store);
    }
  }

  Var forward(Context& ctx, const WaveCells& cells, const Var& x, const Tensor& out) const override {
    const Var qkv = affine(ctx, cells, normed(ctx, x, ln1_), qkv_);
    const Var h = project(ctx, cells, 1, ops::attention(ctx, qkv, heads_), proj_, x, {});
    const Var hidden = ops::gelu(ctx, affine(ctx, cells, normed(ctx, h, ln2_), fc_));
    return project(ctx, cells, 2, hidden, proj2_, h, out);
  }

  Tensor forward_cached(Context& ctx, const Tensor& x, const KeyValueCache& cache) const override {
    const Var input(x);
    const WaveCells none;
    const Tensor qkv = affine(ctx, none, normed(ctx, input, ln1_), qkv_).value;
    const Tensor mixed = Tensor::empty(ctx.stream, {x.dim(1), x.dim(2), x.dim(3)}, x.dtype());
    kernels::attention_cached(ctx.stream, qkv.select(0), heads_, cache.length, cache.keys.select(ctx.lo),
                              cache.values.select(ctx.lo), mixed);
    const Var h = project(ctx, none, 1, mixed.reshape(x.shape()), proj_, input, {});
    const Var hidden = ops::gelu(ctx, affine(ctx, none, normed(ctx, h, ln2_), fc_));
    return project(ctx, none, 2, hidden, proj2_, h, {}).value;
  }

  std::int64_t max_rows() const override { return config_.max_positions; }

 private:
  struct Norm {
    Parameter *weight, *bias;
  };
  struct Affine {
    Parameter *weight = nullptr, *bias = nullptr;
    std::unique_ptr<Adapter> adapter;  // may be null
  };

  Var normed(Context& ctx, const Var& x, const Norm& norm) const {
    return ops::layer_norm(ctx, x, *norm.weight, *norm.bias, config_.layer_norm_eps);
  }
  // w · x + b [+ residual] [+ the adapter's share]
  static Var affine(Context& ctx, const WaveCells& cells, const Var& x, const Affine& a, const Var* residual = nullptr,
                    const Tensor& out = {}) {
    const Var y = ops::linear(
        ctx, x, *a.weight, {.bias = a.bias, .residual = residual, .layout = kernels::WeightLayout::kInOut, .out = out});
    return a.adapter ? a.adapter->apply(ctx, cells, x, y) : y;
  }
  // residual + dropout(w · x + b). Without dropout the residual rides on the matrix product.
  Var project(Context& ctx, const WaveCells& cells, int site, const Var& x, const Affine& a, const Var& residual,
              const Tensor& out) const {
    if (config_.dropout == 0 || !ctx.training) return affine(ctx, cells, x, a, &residual, out);
    kernels::DropoutKey key = cells.dropout;
    key.site = site;
    return ops::add(ctx, ops::dropout(ctx, affine(ctx, cells, x, a), cells.number, config_.dropout, key), residual,
                    out);
  }

  ModelConfig config_;
  kernels::AttentionHeads heads_;
  Norm ln1_, ln2_;
  Affine qkv_, proj_, fc_, proj2_;
};

}  // namespace

std::unique_ptr<Blocks> make_gpt2_blocks(const ModelConfig& config, const std::string& prefix, ParameterStore& store) {
  return std::make_unique<Gpt2Blocks>(config, prefix, store);
}

}  // namespace wt
