// What a model carries from segment to segment. Legend: L_k layers that have a tensor, B samples, C rows at most.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "core/tensor.h"

namespace wt {

struct StateSpec {
  enum class Life : std::uint8_t {
    kFixed,  // replaced by every segment
    kRows,   // rows put behind rows, never changed: keys and values
  };
  std::string name{};         // published, "{l}" for the layer: "W_mem.{l}"
  std::vector<int> layers{};  // that have it, ascending; none: it is the model's own (RMT's memory rows)
  Shape shape{};              // of one layer and sample; kRows: of one row
  DType dtype = DType::kF32;
  Life life = Life::kFixed;
  bool open = false;     // kRows that live in an open segment only: what attention keeps while decoding
  bool gradient = true;  // false: backward stops at the segment's border
  bool carried = true;   // false: zero again at the start of every segment

  bool grows() const { return life == Life::kRows; }
};

// One tensor for each spec, (L_k, B, …) or, of rows, (L_k, B, C, …); (1, B, …) where it is the model's own. Copies
// share their memory, as tensors do.
class State {
 public:
  static constexpr int kOwn = -1;  // in place of a layer: what is the model's own

  State() = default;
  // Zeros, and no rows: those of a text come with reserve(), those of an open segment with opened().
  State(std::vector<StateSpec> specs, std::int64_t batch, const Stream& stream);

  const std::vector<StateSpec>& specs() const { return specs_; }
  std::int64_t batch() const { return batch_; }
  const Tensor& operator[](std::size_t spec) const { return tensors_[spec]; }
  const std::vector<Tensor>& tensors() const { return tensors_; }

  // By spec: its layers in [lo, hi). Undefined where it has none there, or is the model's own.
  std::vector<Tensor> slice(int lo, int hi) const;
  // The same, fixed ones copied. Rows are shared: a later length does not change what lies before it.
  std::vector<Tensor> fork(int lo, int hi) const;
  // Copies of the fixed ones, shared rows, and room for `rows` rows of an open segment.
  State opened(std::int64_t rows) const;
  // Has a text's rows in the memory where `other`, of the same specs and batch, has them.
  void share_rows(const State& other);
  // Zeros for the gradient of every spec that has one, that of rows wide, since many segments add to it; the others
  // undefined.
  State gradient() const;

  // Of one layer, or kOwn, and sample. Rows are not touched: they count for as many as were put there.
  void zero(int layer, int sample) const;
  // What is not carried, of layers [lo, hi) and all samples; and of one sample, all layers.
  void zero_uncarried(int lo, int hi) const;
  void zero_uncarried(int sample) const;
  // Rows [begin, end) alone, of what grows in that layer.
  void zero_rows(int layer, int sample, std::int64_t begin, std::int64_t end) const;
  // With the first `rows` of a text's rows, which both have reserved.
  void copy(int layer, int sample, const State& from, int from_sample, std::int64_t rows = 0) const;
  // Copies everything of one sample, all reserved rows of a text too, except what is the same memory; `from` has the
  // same specs and reserved no more rows.
  void copy_sample(int sample, const State& from, int from_sample) const;

  // Room for the rows of a text: at least so many for each sample. What is there stays.
  void reserve(std::int64_t rows);
  std::int64_t reserved() const { return reserved_; }

  // What state files and `forward` write, layer by layer: views (B, …) of all samples, or (…) of one. `rows`: how many
  // of a growing one, which is left out where they are none.
  NamedTensors published(std::optional<int> sample = {}, std::int64_t rows = 0) const;
  std::uint64_t bytes() const;

 private:
  struct Range {
    std::int64_t begin, end;
  };
  Range range(const StateSpec& spec, int lo, int hi) const;
  // visit(spec, place in its tensor) for what that layer, or kOwn, has.
  template <class Visit>
  void each(int layer, const Visit& visit) const;
  Tensor make(const StateSpec& spec, std::int64_t rows) const;

  std::vector<StateSpec> specs_;
  std::vector<Tensor> tensors_;
  std::int64_t batch_ = 0, reserved_ = 0;
  Stream stream_;
};

// "W_mem.{l}" of layer 3: "W_mem.3".
std::string name_of_layer(std::string published, int layer);

}  // namespace wt
