// What mixes the rows of a layer: attention, a state-space model, a convolution. A layer is
//   h = x + mix(norm1(x)),   y = h + feed_forward(norm2(h))
// and only `mix` differs between layers (layers/kinds.h).
// Legend: G layers of the group, B samples, T rows, D width.
#pragma once

#include <vector>

#include "autograd/tape.h"
#include "layers/norm.h"
#include "layers/state.h"
#include "layers/wave_cells.h"

namespace wt {

// Of one cell: a segment of one sample in one layer.
struct Cost {
  double flops = 0;       // of matrix products, two for every multiplication
  std::int64_t kept = 0;  // elements that its ops keep for backward
  Cost& operator+=(const Cost& other) {
    flops += other.flops;
    kept += other.kept;
    return *this;
  }
};

// Which dropout of a block draws (kernels/dropout.h): 0 is the embedding's.
struct DropoutSite {
  static constexpr int kMixer = 1, kFeedForward = 2, kMixerIn = 3, kMixerOut = 4, kFeedForwardIn = 5,
                       kFeedForwardOut = 6;
};

class Mixer {
 public:
  virtual ~Mixer() = default;

  // What it keeps of one layer and sample, in the order in which forward() is given it; layers are filled in.
  virtual std::vector<StateSpec> state_specs() const { return {}; }
  // A table that every wave of a run asks for, made before it: for segments of at most `rows` rows, read whole or
  // (`open`) row by row. It stays as it is for whoever has it, a recorded run for one. Undefined: none.
  virtual Tensor constants(std::int64_t /*rows*/, bool /*open*/) const { return {}; }

  struct Output {
    Var y;
    std::vector<Var> state;  // as state_specs()
  };
  // mix(x_GBTD) for layers [ctx.lo, ctx.hi) of this kind's stack; where `residual` is given, residual + mix(x). Written
  // to `out` where that is defined. Where state_in has no tensor (StateSpec::open without an open segment) there is
  // none to return; else the next state is written to state_out, which without a record may be state_in's memory. Rows
  // from cells.rows on are padding: they reach no state.
  virtual Output forward(Context& ctx, const WaveCells& cells, const Normed& x, const Var* residual,
                         const std::vector<Var>& state_in, const std::vector<Tensor>& state_out,
                         const Tensor& out) const = 0;

  // Of a cell of `rows` rows whose text had `past` rows before it.
  virtual Cost cost(std::int64_t rows, std::int64_t past) const = 0;
};

}  // namespace wt
