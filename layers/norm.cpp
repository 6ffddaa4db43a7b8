#include "layers/norm.h"

#include "autograd/ops/norm.h"
#include "layers/builder.h"
#include "layers/model_config.h"

namespace wt {

Norm::Norm(const Builder& builder, const std::string& key, const std::string& name) : config_(builder.config().norm) {
  const Shape shape{builder.config().hidden_size};
  weight_ = &builder.add(key, name + ".weight", shape, Init::ones(), false);
  if (config_.kind == NormConfig::Kind::kRms) return;
  bias_ = &builder.add(key + ".bias", name + ".bias", shape, Init::zeros(), false);
}

Var Norm::operator()(Context& ctx, const Var& x, const Tensor& order) const {
  return bias_ != nullptr ? ops::layer_norm(ctx, x, *weight_, *bias_, config_.eps, order)
                          : ops::rms_norm(ctx, x, *weight_, config_.eps, order);
}

Var Normed::applied(const Context& ctx) const {
  if (norm == nullptr) return x;
  Context of_norm = ctx;
  of_norm.lo = lo;
  of_norm.hi = hi;
  return (*norm)(of_norm, x);
}

ops::AddNorm Norm::of_sum(Context& ctx, const Var& x, const Var& delta, const Tensor& order) const {
  return bias_ != nullptr ? ops::add_norm(ctx, x, delta, order, *weight_, *bias_, config_.eps)
                          : ops::add_norm(ctx, x, delta, order, *weight_, config_.eps);
}

}  // namespace wt
