// The tape: a list of wave records, each a list of op records. Backward walks both backwards: no graph, no search, no
// recursion, and memory goes back in the order it was taken.
//
// An op runs its forward kernel at once. While a record is open it also leaves an op record: a function and a Saved
// struct with the tensors backward needs, whose bytes can be counted. Tensors that take part in backward are Vars; a
// Var's gradient lives in the record of its wave under the Var's number, from the first op that contributes to it
// (backward order) until the op that produced the Var takes it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/tensor.h"
#include "kernels/grad_mode.h"

namespace wt {

// What a wave leaves for its backward: everything its ops saved; only its input and state, to run again; or the first
// while the device has room for it, then the second.
enum class Activations : std::uint8_t { kKeep, kRecompute, kAuto };

// Names the op in the message of whatever fails inside it: "out of memory: ...; swiglu; wave 17, layers [3,6)".
class OpScope final : public ErrorContext {
 public:
  explicit OpScope(const char* name) : name_(name) {}
  std::string describe() const override { return name_; }

 private:
  const char* name_;
};

// A tensor of a wave. id < 0: nothing upstream wants its gradient.
struct Var {
  Tensor value;
  int id = -1;
  Var() = default;
  Var(Tensor tensor, int number = -1) : value(std::move(tensor)), id(number) {}
  bool wants_grad() const { return id >= 0; }
};

class WaveRecord;

// What an op's backward sees: its wave's gradients.
class BackwardPass {
 public:
  BackwardPass(WaveRecord& record, const Stream& stream) : record_(record), stream_(stream) {}
  const Stream& stream() const { return stream_; }

  // The gradient of an op's output, taken out of the record: its producer is the last to need it. Undefined where no
  // consumer of the output contributed.
  Tensor take(int id);
  // Where to put a contribution to the gradient under this id, and how: of a tensor like this, or of this shape.
  std::pair<Tensor, GradMode> slot(int id, const Tensor& like) { return slot(id, like.shape(), like.dtype()); }
  std::pair<Tensor, GradMode> slot(int id, const Shape& shape, DType dtype);
  // Passes a gradient on unchanged (a residual path). It becomes the slot's tensor where that is empty, else is added;
  // into the slot of a part (split and join below) it is copied.
  void pass(int id, const Tensor& grad);

 private:
  WaveRecord& record_;
  Stream stream_;
};

class OpRecord {
 public:
  explicit OpRecord(const char* name) : name_(name) {}
  virtual ~OpRecord() = default;
  const char* name() const { return name_; }
  virtual void backward(BackwardPass& pass) = 0;
  virtual std::vector<Tensor> saved() const = 0;

 private:
  const char* name_;
};

namespace detail {
template <class Saved>
class TypedOpRecord final : public OpRecord {
 public:
  using Backward = void (*)(BackwardPass&, const Saved&);
  TypedOpRecord(const char* name, Saved saved, Backward function)
      : OpRecord(name), saved_(std::move(saved)), backward_(function) {}
  void backward(BackwardPass& pass) override { backward_(pass, saved_); }
  std::vector<Tensor> saved() const override { return saved_.tensors(); }

 private:
  Saved saved_;
  Backward backward_;
};
}  // namespace detail

// The ops of one wave, in the order they ran.
class WaveRecord {
 public:
  // A Var whose gradient is wanted from outside: the wave's inputs.
  Var leaf(const Tensor& value) { return {value, new_id()}; }
  // The output of an op: it wants a gradient where an input does, or where the op has trainable parameters.
  Var output(const Tensor& value, bool wanted) { return {value, wanted ? new_id() : -1}; }
  // From here on the gradient of `part` is entries [begin, end) of the first extent of the whole's (split and join
  // below). A part has no parts.
  void link(const Var& part, const Var& whole, std::int64_t begin, std::int64_t end);

  // `Saved` has `std::vector<Tensor> tensors() const`.
  template <class Saved>
  void record(const char* name, Saved saved, void (*function)(BackwardPass&, const Saved&)) {
    ops_.push_back(std::make_unique<detail::TypedOpRecord<Saved>>(name, std::move(saved), function));
  }

  // Seeds the gradient of an output, which is no part, before backward: in the output's dtype, or in the wide one where
  // many waves add to it. The tensor may be written to.
  void set_grad(const Var& var, const Tensor& grad);
  // The gradient of a leaf after backward; undefined where nothing reached it.
  Tensor grad(const Var& var) const;

  // Runs the ops' backwards, last first, and releases what each had saved. Once.
  void backward(const Stream& stream);

  std::size_t num_ops() const { return ops_.size(); }
  // Distinct bytes held for backward.
  std::uint64_t saved_bytes() const;

 private:
  friend class BackwardPass;

  // A gradient from its first contribution until it is taken.
  struct Gradient {
    Tensor tensor;  // undefined: nothing reached it yet
    // Of a Var that has parts: its shape, and which entries of the first extent something reached.
    Shape shape;
    std::vector<bool> reached;
    // Of a part, which has no tensor of its own: it is entries [begin, end) of this one's.
    int whole = -1;
    std::int64_t begin = 0, end = 0;
  };
  // Where the gradient of a Var lies: all of one, or some entries of its whole's.
  struct Place {
    Gradient& gradient;
    std::int64_t begin, end;
    Tensor tensor() const;
    void mark(bool reached) const;
    // False where nothing reached it. Where something reached some entries, the others become zero.
    bool complete(const Stream& stream) const;
  };
  Gradient& gradient(int id) { return grads_[static_cast<std::size_t>(id)]; }
  Place place(int id);
  void hand_over(int id, const Stream& stream);

  int new_id() {
    grads_.emplace_back();
    return static_cast<int>(grads_.size()) - 1;
  }

  std::vector<std::unique_ptr<OpRecord>> ops_;
  std::vector<Gradient> grads_;
};

// What every op is given: where to run, for which layers, and whether to leave a record.
struct Context {
  Stream stream;
  WaveRecord* record = nullptr;  // null: no backward, nothing is kept
  bool training = false;         // dropout is on
  int lo = 0;                    // layers [lo, hi) of the wave
  int hi = 1;

  bool recording() const { return record != nullptr; }
};

// The value of a Var with its gradient stopped: upstream sees zero from here.
inline Var stop_gradient(const Var& x) {
  return {x.value};
}

// Parts of a tensor along the first extent, of these sizes, in its memory; their gradients are slices of the whole's.
// One part is the whole itself.
std::vector<Var> split(Context& ctx, const Var& whole, const std::vector<std::int64_t>& sizes);

// The tensor in whose memory the parts lie side by side, as one Var; their gradients are slices of its. One part is
// given back as it is.
Var join(Context& ctx, const Tensor& tensor, const std::vector<Var>& parts);

}  // namespace wt
