// Runs a plan: waves forward, and the same waves in reverse for the gradient. Holds what flows between waves (hidden
// states, recurrent state, their gradients) and the tape; knows nothing of what a layer or an end of the stack does.
//
// With gradients every wave keeps its record (Activations::kKeep), or its input and state only, to be run again in
// backward (kRecompute). Without, the plan is the Reader's (schedulers/reader.h).
// Legend: L layers, G layers of a wave, B samples, T rows of a segment, D width, R chosen rows.
#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "layers/model.h"
#include "schedulers/ends.h"
#include "schedulers/work.h"

namespace wt {

struct ExecutorOptions {
  bool gradients = false;
  bool training = false;  // dropout is on; with gradients only
  Activations activations = Activations::kKeep;
  int k2 = 0;  // cut the state's gradient before every segment whose number is a multiple of k2; 0: never
  bool state_gradient = false;  // state_gradient() is wanted after backward
  kernels::DropoutKey dropout;
  // By sequence, without gradients only: where its state is copied after its last segment, before its lane goes on with
  // the next round's. Empty: nowhere.
  std::vector<StatePlace> kept;
  // Asked before every wave of a pass with gradients, forward and backward. What it throws ends the pass: gradients are
  // then as far as they were.
  std::function<void()> before_wave;
};

class Executor {
 public:
  explicit Executor(const Model& model) : model_(model) {}

  // Reads the sequences (ids in [0, V)) along the plan, which must be made for the grid's rounds. `state`, of the
  // grid's batch, is advanced in place; a sequence's first segment starts from zero. Returns the last layer's output
  // (before the final norm) at the places, hidden_RD in their order. Throws Error with the wave and layers on any
  // failure.
  Tensor forward(const Work& work, State& state, const ExecutorOptions& options);

  // After a forward with gradients, once: adds to the parameters' gradients, given that of the hidden rows.
  void backward(const Tensor& dhidden);

  // After backward with ExecutorOptions::state_gradient: with respect to the state that forward was given, as
  // State::gradient() has it.
  const State& state_gradient() const { return dstate_; }

  // The smallest memory denominator of the last forward; infinity where no memory was read.
  double min_denominator() const;
  // Bytes each wave of the last forward kept for backward.
  const std::vector<std::uint64_t>& saved_bytes() const { return saved_bytes_; }

 private:
  // What backward needs of one wave.
  struct Step {
    Wave wave;
    WaveCells cells;
    Tensor x;                   // (G, B, T, D)
    std::vector<Tensor> state;  // before the wave, as State::fork() gives it
    EndRecord source, sink;     // where the wave is at an end of the stack
    bool kept = false;          // its record is whole; else the wave is run again
    WaveRecord record;
    Var input, output;
    std::vector<Var> state_in, state_out;
  };

  void run_layers(Step& step, const std::vector<Tensor>& state_out, const Tensor& out, bool recorded);
  void backward_wave(Step& step, const Tensor& dy);
  bool keeps(const Plan& plan, std::size_t w) const;

  const Model& model_;
  ExecutorOptions options_;
  SegmentGrid grid_;
  std::int64_t rows_ = 0;  // T
  std::optional<TokenSource> source_;
  std::optional<RowSink> sink_;
  std::vector<Step> tape_;
  State state_, dstate_;
  Tensor min_den_;
  std::uint64_t capacity_ = 0;        // of the device, for Activations::kAuto
  std::uint64_t bytes_per_cell_ = 0;  // most that a cell of a kept wave has held so far
  std::uint64_t input_per_cell_ = 0;  // what a cell that is run again holds
  std::vector<std::uint64_t> saved_bytes_;
};

}  // namespace wt
