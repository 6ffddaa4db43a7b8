// A matrix of every layer with what belongs to it: bias, adapter, dropout of its output.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "autograd/parameter.h"
#include "autograd/tape.h"
#include "kernels/linear_fused.h"
#include "layers/adapter.h"
#include "layers/norm.h"
#include "layers/wave_cells.h"

namespace wt {

class Builder;

struct LinearSpec {
  struct Part {
    std::string name;  // published, without ".weight"
    std::int64_t outputs;
  };
  std::string key{};
  std::vector<Part> parts{};  // one behind the other; a matrix that is (in, out) has one
  std::int64_t inputs = 0;
  bool bias = false;
  Init init{};
  int site = 0;  // of the adapter's dropout: unlike any other in the block (kernels/dropout.h)
};

class Linear {
 public:
  Linear(const Builder& builder, const LinearSpec& spec);

  // w · norm?(x) [+ bias] [+ the adapter's share]. x_G..I -> y_G..O
  Var operator()(Context& ctx, const WaveCells& cells, const Normed& x) const;
  // The same in two: all outputs but the last `wide`, and these in the wide dtype. Of a matrix of one part, (out, in).
  struct Apart {
    Var main, wide;
  };
  Apart apart(Context& ctx, const WaveCells& cells, const Normed& x, std::int64_t wide) const;
  // swiglu of the same: the first half of the outputs is the gate (kernels/activation.h). -> y_G..(O/2)
  Var swiglu(Context& ctx, const WaveCells& cells, const Normed& x) const;
  // [residual +] dropout(w · x [+ bias]), written to `out` where that is defined. `residual` may be null. Without
  // dropout the residual rides on the product. `site` as in LinearSpec.
  Var back(Context& ctx, const WaveCells& cells, const Var& x, const Var* residual, int site, const Tensor& out) const;

  // Whether these rows are a decoding step's: few, of one layer, unrecorded, the weights with nothing beside them.
  bool steps(const Context& ctx, const Tensor& x) const;
  // Of such: [residual +] w · norm(x ∘ silu(gate)) [+ bias], as kernels/linear_fused.h has it.
  Tensor back_gated(Context& ctx, const Tensor& x, const Tensor& gate, const Tensor& norm, double eps,
                    const Tensor& residual, const Tensor& out) const;

  std::int64_t inputs() const { return inputs_; }
  std::int64_t outputs() const { return outputs_; }
  // Of one layer's product, and its adapter's, with so many rows (layers/mixer.h: Cost).
  double flops(std::int64_t rows) const;

 private:
  Var apply(Context& ctx, const WaveCells& cells, const Var& x, const Var* residual, const Tensor& out) const;
  Var outputs_of(Context& ctx, const WaveCells& cells, const Var& x, std::int64_t first, std::int64_t count,
                 bool wide) const;
  kernels::FusedLinear fused_parts(const Context& ctx, const Normed& x) const;
  Var fused(Context& ctx, const Normed& x, bool swiglu, const Var* residual, const Tensor& out) const;
  bool fuses(const Context& ctx) const;

  const Parameter* weight_;
  const Parameter* bias_ = nullptr;
  std::unique_ptr<Adapter> adapter_;  // may be null
  std::int64_t inputs_, outputs_;
  double dropout_;
};

}  // namespace wt
