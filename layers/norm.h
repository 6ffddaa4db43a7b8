// The norms of a stack, or the one before the head (kernels/rms_norm.h, kernels/layer_norm.h).
#pragma once

#include <string>

#include "autograd/ops/add_norm.h"
#include "autograd/parameter.h"
#include "autograd/tape.h"

namespace wt {

class Builder;

struct NormConfig {
  enum class Kind : std::uint8_t { kRms, kLayer };
  Kind kind = Kind::kRms;
  double eps = 1e-5;
  bool operator==(const NormConfig&) const = default;
};

class Norm {
 public:
  // Registers `name`.weight and, for layer norm, `name`.bias.
  Norm(const Builder& builder, const std::string& key, const std::string& name);

  // x_G..D -> norm(x) for layers [ctx.lo, ctx.hi), written in the order of kinds where `order` is given
  // (layers/kinds.h).
  Var operator()(Context& ctx, const Var& x, const Tensor& order = {}) const;
  // h = x + delta, delta_G..D in the order of kinds, and norm(h).
  ops::AddNorm of_sum(Context& ctx, const Var& x, const Var& delta, const Tensor& order) const;

  // RMS norms can be part of the product that follows (kernels/linear_fused.h).
  bool fuses() const { return bias_ == nullptr; }
  const Parameter& weight() const { return *weight_; }
  double eps() const { return config_.eps; }

 private:
  NormConfig config_;
  const Parameter* weight_;
  const Parameter* bias_ = nullptr;
};

// The input of a product: a Var, or a Var and the norm that the product is to apply to it first, of layers [lo, hi).
// The second where nothing is recorded: a few rows meet all weights then, and one kernel does both.
struct Normed {
  Var x;
  const Norm* norm = nullptr;
  int lo = 0, hi = 0;

  Normed(const Var& whole) : x(whole) {}
  Normed(const Var& rows, const Norm& first, const Context& ctx) : x(rows), norm(&first), lo(ctx.lo), hi(ctx.hi) {}
  // The Var with its norm, whatever the context's layers.
  Var applied(const Context& ctx) const;
};

}  // namespace wt
