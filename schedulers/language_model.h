// The training objective: next-token cross-entropy at chosen places of a batch, and its gradient.
#pragma once

#include <functional>
#include <vector>

#include "schedulers/executor.h"

namespace wt {

// Token ids of every sequence of a batch, and which predictions carry a loss: mask[q][t] true means that token t of
// sequence q is to predict token t + 1 (so the last entry of a mask counts for nothing).
struct TokenBatch {
  std::vector<std::vector<std::int32_t>> sequences;
  std::vector<std::vector<std::uint8_t>> mask;
  int batch = 0;  // samples side by side; more sequences than that make further rounds

  std::int64_t num_tokens() const;
  std::int64_t num_targets() const;
};

struct LossResult {
  double sum = 0;  // of the cross-entropy over the targets, in nats
  std::int64_t targets = 0;
  std::int64_t correct = 0;                     // targets that had the largest logit
  std::vector<std::uint8_t> correct_by_target;  // in the order of sequences and positions
  double mean() const { return targets == 0 ? 0 : sum / static_cast<double>(targets); }
};

// Logits of chosen rows, a piece at a time, so that no more than a few thousand rows of V columns exist at once:
// visit(first row, logits_RV).
using LogitsVisitor = std::function<void(std::int64_t, const Tensor&)>;
void visit_logits(const Model& model, const Tensor& hidden, const LogitsVisitor& visit);

// Forward, and with options.gradients backward too: adds grad_scale · d(sum)/dθ to every trainable parameter's
// gradient. (grad_scale = 1 / all targets of the optimizer step makes it the mean's.) `state` ends as the memory after
// the batch.
LossResult run_language_model(Executor& executor, const Model& model, const TokenBatch& batch, Schedule schedule,
                              const ExecutorOptions& options, double grad_scale, State& state);

}  // namespace wt
