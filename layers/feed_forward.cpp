#include "layers/feed_forward.h"

#include "autograd/ops/activation.h"
#include "layers/builder.h"
#include "layers/model_config.h"

namespace wt {
namespace {

LinearSpec in_spec(const Builder& builder, const FeedForwardConfig& config) {
  const ModelConfig& model = builder.config();
  const std::int64_t f = model.mlp_width();
  LinearSpec spec{.key = "mlp.in",
                  .inputs = model.hidden_size,
                  .bias = config.bias,
                  .init = Init::normal(model.init_std),
                  .site = DropoutSite::kFeedForwardIn};
  for (const std::string& name : config.in) spec.parts.push_back({name, f});
  return spec;
}

LinearSpec out_spec(const Builder& builder, const FeedForwardConfig& config) {
  const ModelConfig& model = builder.config();
  return {.key = "mlp.out",
          .parts = {{config.out, model.hidden_size}},
          .inputs = model.mlp_width(),
          .bias = config.bias,
          .init = Init::normal(model.output_std()),
          .site = DropoutSite::kFeedForwardOut};
}

}  // namespace

FeedForward::FeedForward(const Builder& builder, const FeedForwardConfig& config)
    : kind_(config.kind), in_(builder, in_spec(builder, config)), out_(builder, out_spec(builder, config)) {}

Var FeedForward::operator()(Context& ctx, const WaveCells& cells, const Normed& n, const Var& h,
                            const Tensor& out) const {
  const Var inner =
      kind_ == FeedForwardConfig::Kind::kSwiglu ? in_.swiglu(ctx, cells, n) : ops::gelu(ctx, in_(ctx, cells, n));
  return out_.back(ctx, cells, inner, &h, DropoutSite::kFeedForward, out);
}

Cost FeedForward::cost(std::int64_t rows) const {
  const std::int64_t d = in_.inputs(), wide = in_.outputs(), f = out_.inputs();
  return {in_.flops(rows) + out_.flops(rows), rows * (d + wide + f)};
}

}  // namespace wt
