#include "layers/mixers/mamba2.h"

#include <cmath>

#include "autograd/ops/mamba2.h"
#include "core/fields.h"
#include "kernels/causal_conv.h"
#include "layers/builder.h"
#include "layers/linear.h"
#include "layers/mixer.h"
#include "layers/model_config.h"

namespace wt {
namespace {

// As the reference code draws them (state-spaces/mamba): decays of 1 to 16 a unit of δ, and δ between 0.001 and 0.1,
// spread evenly in its logarithm.
double fresh_a_log(double uniform) {
  return std::log(1 + 15 * uniform);
}
double fresh_dt_bias(double uniform) {
  const double step = std::max(std::exp(std::log(0.001) + uniform * (std::log(0.1) - std::log(0.001))), 1e-4);
  return step + std::log(-std::expm1(-step));  // softplus's inverse
}

Init spread_over(std::int64_t inputs, double shrink = 1) {
  return Init::uniform(1 / (std::sqrt(static_cast<double>(inputs)) * shrink));
}

LinearSpec in_spec(const Builder& builder, const Mamba2Config& config) {
  const std::int64_t d = builder.config().hidden_size;
  const kernels::SsdShape shape = config.shape(d);
  return {.key = "mamba.in",
          .parts = {{config.name + "in_proj", shape.inner() + shape.columns() + shape.heads}},
          .inputs = d,
          .bias = config.bias,
          .init = spread_over(d),
          .site = DropoutSite::kMixerIn};
}

LinearSpec out_spec(const Builder& builder, const Mamba2Config& config) {
  const ModelConfig& model = builder.config();
  const std::int64_t inner = config.shape(model.hidden_size).inner();
  // Smaller the more branches are added up: two a layer where there is a feed-forward half.
  const bool alone = model.feed_forward.kind == FeedForwardConfig::Kind::kNone;
  const double branches = static_cast<double>(model.num_layers) * (alone ? 1 : 2);
  return {.key = "mamba.out",
          .parts = {{config.name + "out_proj", model.hidden_size}},
          .inputs = inner,
          .bias = config.bias,
          .init = spread_over(inner, std::sqrt(branches)),
          .site = DropoutSite::kMixerOut};
}

class Mamba2 final : public Mixer {
 public:
  Mamba2(const Mamba2Config& config, const Builder& builder)
      : dtype_(builder.store().dtype()),
        shape_(config.shape(builder.config().hidden_size)),
        norm_{config.num_groups, config.norm_eps, config.norm_first},
        conv_width_(config.conv_width),
        passes_state_(config.passes_state),
        in_(builder, in_spec(builder, config)),
        weights_(register_weights(config, builder)),
        out_(builder, out_spec(builder, config)) {}

  std::vector<StateSpec> state_specs() const override {
    return {{.name = "conv_tail.{l}", .shape = {conv_width_ - 1, shape_.columns()}, .dtype = dtype_},
            {.name = "ssm_state.{l}",
             .shape = {shape_.heads, shape_.width, shape_.state},
             .dtype = wide(dtype_),
             .carried = passes_state_}};
  }

  Output forward(Context& ctx, const WaveCells& cells, const Normed& x, const Var* residual,
                 const std::vector<Var>& state_in, const std::vector<Tensor>& state_out,
                 const Tensor& out) const override {
    // dt decides decays, which many rows multiply up: it is never rounded to bf16.
    const Linear::Apart in = in_.apart(ctx, cells, x, shape_.heads);
    if (!norm_.norm_first && norm_.groups == 1 && in_.steps(ctx, x.x.value) && out_.steps(ctx, in.main.value)) {
      return {step(ctx, cells, in, residual, state_in, state_out, out), {state_out.begin(), state_out.end()}};
    }
    const ops::Mamba2Output core = ops::mamba2(ctx, in.main, in.wide, {state_in[0], state_in[1]}, weights_, shape_,
                                               norm_, cells.cells, state_out[0], state_out[1]);
    return {out_.back(ctx, cells, core.o, residual, DropoutSite::kMixer, out), {core.state.tail, core.state.s}};
  }

  Cost cost(std::int64_t rows, std::int64_t /*past*/) const override {
    const std::int64_t inner = shape_.inner(), rest = rows % shape_.chunk;
    // In a chunk the causal half of rows and rows, once a group and once a head; rows and states, in and out.
    const std::int64_t pairs = (rows - rest) * shape_.chunk + rest * rest;
    const auto scan =
        static_cast<double>(pairs * (shape_.groups * shape_.state + inner) + 4 * rows * inner * shape_.state);
    return {in_.flops(rows) + out_.flops(rows) + scan,
            rows * (in_.inputs() + in_.outputs() + 2 * inner + shape_.groups) + inner * shape_.state +
                (conv_width_ - 1) * shape_.columns()};
  }

 private:
  // A few rows, unrecorded: gate and norm are the first things that the last product does.
  Tensor step(Context& ctx, const WaveCells& cells, const Linear::Apart& in, const Var* residual,
              const std::vector<Var>& state_in, const std::vector<Tensor>& state_out, const Tensor& out) const {
    const auto value = [&](const Parameter* parameter) {
      return parameter == nullptr ? Tensor{} : parameter->value_slice(ctx.lo, ctx.hi);
    };
    const Tensor& zxbc = in.main.value;
    const std::int64_t b = zxbc.dim(1), t = zxbc.dim(2);
    const Tensor xbc = Tensor::empty(ctx.stream, {1, b, t, shape_.columns()}, zxbc.dtype());
    kernels::causal_conv_forward(ctx.stream, zxbc, shape_.inner(),
                                 value(weights_.conv).reshape({1, shape_.columns(), conv_width_}),
                                 value(weights_.conv_bias), state_in[0].value, cells.cells, xbc, state_out[0]);
    const Tensor y = Tensor::empty(ctx.stream, {1, b, t, shape_.inner()}, zxbc.dtype());
    kernels::ssd_forward(ctx.stream, xbc, in.wide.value,
                         {value(weights_.a_log), value(weights_.d), value(weights_.dt_bias)}, shape_, state_in[1].value,
                         cells.cells, y, state_out[1]);
    return out_.back_gated(ctx, y, zxbc, value(weights_.norm), norm_.eps,
                           residual != nullptr ? residual->value : Tensor{}, out);
  }

  ops::Mamba2Weights register_weights(const Mamba2Config& c, const Builder& builder) const {
    const std::int64_t h = shape_.heads, e = shape_.columns(), k = c.conv_width;
    const Init conv = spread_over(k);
    const auto vector = [&](const std::string& key, const std::string& name, std::int64_t n, const Init& init) {
      return &builder.add("mamba." + key, c.name + name, {n}, init, false);
    };
    ops::Mamba2Weights weights;
    weights.conv = &builder.add("mamba.conv", c.name + "conv1d.weight", {e, 1, k}, conv, true);
    if (c.conv_bias) weights.conv_bias = vector("conv.bias", "conv1d.bias", e, conv);
    weights.dt_bias = vector("dt_bias", "dt_bias", h, Init::of_uniform(fresh_dt_bias));
    weights.a_log = vector("a_log", "A_log", h, Init::of_uniform(fresh_a_log));
    weights.d = vector("d", "D", h, Init::ones());
    weights.norm = vector("norm", "norm.weight", shape_.inner(), Init::ones());
    return weights;
  }

  DType dtype_;
  kernels::SsdShape shape_;
  kernels::GatedNorm norm_;
  std::int64_t conv_width_;
  bool passes_state_;
  Linear in_;
  ops::Mamba2Weights weights_;
  Linear out_;
};

}  // namespace

kernels::SsdShape Mamba2Config::shape(std::int64_t hidden_size) const {
  return {.heads = heads(hidden_size),
          .width = head_dim,
          .state = state_size,
          .groups = num_groups,
          .least = least_step,
          .most = most_step};
}

void describe(Fields& f, Mamba2Config& c) {
  describe_scan(f, c);
  f.real("norm_eps", c.norm_eps, above(0), "Added to the mean square in the gated norm");
}

void describe_scan(Fields& f, Mamba2Config& c) {
  f.integer("num_heads", c.num_heads, count_from(0), "Heads of the scan, 0 for 2 hidden_size / head_dim");
  f.integer("head_dim", c.head_dim, count_from(1), "Width of a head");
  f.integer("state_size", c.state_size, count_from(1), "Numbers of state for each entry of a head");
  f.integer("num_groups", c.num_groups, count_from(1), "Groups of heads that share input and output vectors");
  f.integer("conv_width", c.conv_width, from_to(2, 64), "Rows that the convolution sees");
  f.integer("chunk_size", c.chunk_size, count_from(1),
            "Rows of a chunk as published: recorded, no number depends on it");
  f.real("least_step", c.least_step, at_least(0), "Lower limit of the step δ");
  double most = c.most_step == std::numeric_limits<double>::infinity() ? 0 : c.most_step;
  f.real("most_step", most, at_least(0), "Upper limit of the step δ, 0 for none");
  c.most_step = most == 0 ? std::numeric_limits<double>::infinity() : most;
  f.boolean("conv_bias", c.conv_bias, "Bias of the convolution");
  f.boolean("proj_bias", c.bias, "Biases of both projections");
  f.boolean("norm_before_gate", c.norm_first, "The gate behind the norm, not in front of it");
}

std::string summary(const Mamba2Config& c, std::int64_t hidden_size) {
  const kernels::SsdShape shape = c.shape(hidden_size);
  return cat("Mamba-2, ", shape.heads, " heads of ", shape.width, ", state ", shape.state,
             shape.groups > 1 ? cat(", ", shape.groups, " groups") : "");
}

void check_mixer(const Mamba2Config& c, std::int64_t hidden_size, const CheckFail& fail) {
  for (const auto& [key, value] : {std::pair{"num_heads", c.num_heads},
                                   {"head_dim", c.head_dim},
                                   {"state_size", c.state_size},
                                   {"num_groups", c.num_groups}}) {
    if (constexpr std::int64_t kMost = 1 << 16; value > kMost) {
      fail(key, cat("is ", value, ", expected at most ", kMost));
    }
  }
  if (c.head_dim < 1) fail("head_dim", cat("is ", c.head_dim, ", expected at least 1"));
  if (c.state_size < 1) fail("state_size", cat("is ", c.state_size, ", expected at least 1"));
  if (c.num_heads == 0 && 2 * hidden_size % c.head_dim != 0) {
    fail("head_dim", cat("is ", c.head_dim, ", not a divisor of 2 hidden_size = ", 2 * hidden_size));
  }
  const std::int64_t heads = c.heads(hidden_size);
  if (c.num_groups < 1 || heads % c.num_groups != 0) {
    fail("num_groups", cat("is ", c.num_groups, ", expected a divisor of num_heads ", heads));
  }
  if (c.conv_width < 2 || c.conv_width > 64) fail("conv_width", cat("is ", c.conv_width, ", expected 2 to 64"));
  if (!(c.least_step >= 0) || !(c.most_step > c.least_step)) {
    fail("most_step", cat("is ", c.most_step, ", expected above least_step ", c.least_step));
  }
}

std::unique_ptr<Mixer> make_mixer(const Mamba2Config& config, const Builder& builder) {
  return std::make_unique<Mamba2>(config, builder);
}

}  // namespace wt
