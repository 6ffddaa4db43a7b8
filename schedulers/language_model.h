// The training objective: weighted cross-entropy at chosen places of a batch, and its gradient.
#pragma once

#include <functional>
#include <vector>

#include "schedulers/executor.h"

namespace wt {

// What token `position` of sequence `sequence` is to predict, and how much that counts.
struct Target {
  std::int32_t sequence = 0;
  std::int64_t position = 0;
  std::int32_t id = 0;
  double weight = 1;
  bool operator==(const Target&) const = default;
};

// Token ids of every sequence of a batch, and its targets, no place twice.
struct TokenBatch {
  TokenSequences sequences;
  std::vector<Target> targets;
  int batch = 0;  // samples side by side; more sequences than that make further rounds

  std::int64_t num_tokens() const;
  std::int64_t num_targets() const { return static_cast<std::int64_t>(targets.size()); }
  // Adds a sequence. mask[t] true: token t is to predict token t + 1 (so the last entry counts for nothing).
  void add(std::vector<std::int32_t> ids, const std::vector<std::uint8_t>& mask);
  // Adds another batch's sequences behind these: further rounds where this one is full.
  void append(TokenBatch other);
};

struct LossResult {
  double sum = 0;     // of weight times cross-entropy over the targets, in nats
  double weight = 0;  // of all targets
  std::int64_t targets = 0;
  std::int64_t correct = 0;                     // targets that had the largest logit
  std::vector<std::uint8_t> correct_by_target;  // in the order of TokenBatch::targets, as is the next
  std::vector<double> loss_by_target;           // cross-entropy
  double mean() const { return weight == 0 ? 0 : sum / weight; }
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
