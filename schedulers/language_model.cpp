#include "schedulers/language_model.h"

#include <algorithm>

#include "autograd/ops/cross_entropy.h"

namespace wt {
namespace {

// Rows of logits at a time: 64 Mi elements, at least 16 rows.
std::int64_t chunk_rows(std::int64_t vocab_size) {
  return std::max<std::int64_t>(16, (std::int64_t{1} << 26) / vocab_size);
}

struct Targets {
  std::vector<TokenPlace> places;
  std::vector<std::int32_t> ids;
};

// Targets are tokens of the sequences, which the executor checks as it reads them.
Targets select_targets(const TokenBatch& batch) {
  Targets targets;
  for (std::size_t q = 0; q < batch.sequences.size(); ++q) {
    const auto& ids = batch.sequences[q];
    WT_CHECK(batch.mask[q].size() == ids.size(), "sequence ", q, " has ", ids.size(), " tokens and a mask of ",
             batch.mask[q].size());
    for (std::size_t t = 0; t + 1 < ids.size(); ++t) {
      if (batch.mask[q][t] == 0) continue;
      targets.places.push_back({static_cast<std::int32_t>(q), static_cast<std::int64_t>(t)});
      targets.ids.push_back(ids[t + 1]);
    }
  }
  return targets;
}

}  // namespace

std::int64_t TokenBatch::num_tokens() const {
  std::int64_t count = 0;
  for (const auto& ids : sequences) count += static_cast<std::int64_t>(ids.size());
  return count;
}

std::int64_t TokenBatch::num_targets() const {
  std::int64_t count = 0;
  for (std::size_t q = 0; q < sequences.size(); ++q) {
    for (std::size_t t = 0; t + 1 < sequences[q].size(); ++t) count += mask[q][t] != 0 ? 1 : 0;
  }
  return count;
}

void visit_logits(const Model& model, const Tensor& hidden, const LogitsVisitor& visit) {
  const std::int64_t rows = hidden.dim(0), chunk = chunk_rows(model.config().vocab_size);
  Context ctx{model.stream(), nullptr, false, 0, 1};
  for (std::int64_t first = 0; first < rows; first += chunk) {
    visit(first, model.head(ctx, hidden.slice(first, std::min(rows, first + chunk))).value);
  }
}

LossResult run_language_model(Executor& executor, const Model& model, const TokenBatch& batch, Schedule schedule,
                              const ExecutorOptions& options, double grad_scale, State& state) {
  WT_CHECK(batch.mask.size() == batch.sequences.size(), "a batch of ", batch.sequences.size(), " sequences has ",
           batch.mask.size(), " masks");
  std::vector<std::int64_t> lengths;
  for (const auto& ids : batch.sequences) lengths.push_back(static_cast<std::int64_t>(ids.size()));
  const std::int64_t longest = lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
  const SegmentGrid grid =
      make_grid(lengths, batch.batch, model.segment_size(longest), model.config().segment_alignment());
  const Plan plan = make_plan(schedule, model.num_layers(), grid.segments_by_round);
  const Targets targets = select_targets(batch);
  const Tensor hidden = executor.forward(batch.sequences, grid, plan, targets.places, state, options);

  const Stream& stream = model.stream();
  const std::int64_t rows = hidden.dim(0), chunk = chunk_rows(model.config().vocab_size);
  LossResult result;
  result.targets = rows;
  const Tensor dhidden = options.gradients ? Tensor::empty(stream, hidden.shape(), hidden.dtype()) : Tensor{};
  for (std::int64_t first = 0; first < rows; first += chunk) {
    const std::int64_t end = std::min(rows, first + chunk);
    WaveRecord record;
    Context ctx{stream, options.gradients ? &record : nullptr, options.training, 0, 1};
    const Tensor part = hidden.slice(first, end);
    const Var input = options.gradients ? record.leaf(part) : Var(part);
    const std::vector<std::int32_t> ids(targets.ids.begin() + first, targets.ids.begin() + end);
    const ops::CrossEntropy loss =
        ops::cross_entropy(ctx, model.head(ctx, input), Tensor::from<std::int32_t>(stream, {end - first}, ids));
    const Tensor values = loss.loss.value.to_cpu(stream).to(Stream{}, DType::kF64);
    for (const double value : values.to_vector<double>()) result.sum += value;
    const std::vector<std::uint8_t> correct = loss.correct.to_cpu(stream).to_vector<std::uint8_t>();
    result.correct_by_target.insert(result.correct_by_target.end(), correct.begin(), correct.end());
    if (!options.gradients) continue;
    const std::vector<double> scale(static_cast<std::size_t>(end - first), grad_scale);
    record.set_grad(loss.loss, Tensor::from<double>({end - first}, scale).to(stream, wide(hidden.dtype())));
    record.backward(stream);
    dhidden.slice(first, end).copy_from(stream, record.grad(input).reshape(part.shape()));
  }
  result.correct = std::count(result.correct_by_target.begin(), result.correct_by_target.end(), 1);
  if (options.gradients) executor.backward(dhidden);
  return result;
}

}  // namespace wt
