// What a model costs: arithmetic for the model FLOP utilisation, bytes for the memory estimate.
#pragma once

#include <cstdint>

#include "autograd/tape.h"
#include "layers/model.h"
#include "train/config.h"

namespace wt {

// Floating-point operations of reading a sequence of `tokens` tokens from its beginning, segment by segment, without
// the head. Counted: matrix products (2 per weight and row, adapters' among them), causal attention (half of the
// square: 2·rows²·H·K per segment), memory read and write: what the modules say (layers/mixer.h: Cost). Not counted:
// norms, activations, softmax, padding. Forward and backward together are three times that; recomputation does not
// count, as usual for MFU.
double sequence_flops(const Model& model, std::int64_t tokens);

// GFLOP/s of this machine's matrix product, measured with the product's own kernel: on the CPU a 1024 cube with all
// threads, on a GPU an 8192 cube.
double measure_gemm_rate(const Stream& stream, DType dtype);

struct MemoryEstimate {
  std::uint64_t weights = 0;      // parameters
  std::uint64_t training = 0;     // gradients and the optimizer's two moments
  std::uint64_t activations = 0;  // what the tape keeps of one batch
  std::uint64_t state = 0;        // recurrent state, its gradient
  std::uint64_t total() const { return weights + training + activations + state; }
};
// Of a configuration's numbers, before anything is allocated.
std::int64_t count_parameters(const ModelConfig& config);
// For batches of `batch` samples of `segments` segments in dtype of `element` bytes. `trained` of the parameters have
// gradients and moments, -1: all.
MemoryEstimate estimate_memory(const ModelConfig& config, std::int64_t parameters, std::int64_t batch,
                               std::int64_t segments, Activations activations, std::size_t element,
                               std::int64_t trained = -1);
// The least that a stage can do with, in batches of `batch` samples: with activations: auto, all is computed again.
// Streaming keeps all the batches of a step at once.
MemoryEstimate stage_memory(const Config& config, const StageConfig& stage, const ModelConfig& model,
                            std::int64_t parameters, std::int64_t trained, std::int64_t batch);

}  // namespace wt
