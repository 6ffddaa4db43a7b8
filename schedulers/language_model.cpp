#include "schedulers/language_model.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "autograd/ops/cross_entropy.h"

namespace wt {
namespace {

// Rows of logits at a time: 64 Mi elements, at least 16 rows.
std::int64_t chunk_rows(std::int64_t vocab_size) {
  return std::max<std::int64_t>(16, (std::int64_t{1} << 26) / vocab_size);
}

}  // namespace

std::int64_t TokenBatch::num_tokens() const {
  std::int64_t count = 0;
  for (const auto& ids : sequences) count += static_cast<std::int64_t>(ids.size());
  return count;
}

void TokenBatch::add(std::vector<std::int32_t> ids, const std::vector<std::uint8_t>& mask) {
  WT_CHECK(mask.size() == ids.size(), "sequence ", sequences.size(), " has ", ids.size(), " tokens and a mask of ",
           mask.size());
  const auto sequence = static_cast<std::int32_t>(sequences.size());
  for (std::size_t t = 0; t + 1 < ids.size(); ++t) {
    if (mask[t] != 0) targets.push_back({sequence, static_cast<std::int64_t>(t), ids[t + 1]});
  }
  sequences.push_back(std::move(ids));
}

void TokenBatch::append(TokenBatch other) {
  const auto before = static_cast<std::int32_t>(sequences.size());
  std::move(other.sequences.begin(), other.sequences.end(), std::back_inserter(sequences));
  for (Target target : other.targets) {
    target.sequence += before;
    targets.push_back(target);
  }
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
  std::vector<TokenPlace> places;
  LossResult result;
  for (const Target& target : batch.targets) {
    WT_CHECK(target.id >= 0 && target.id < model.config().vocab_size, "target ", target.id, " of token ",
             target.position, " in sequence ", target.sequence, " is not in the vocabulary of ",
             model.config().vocab_size);
    places.push_back({target.sequence, target.position});
    result.weight += target.weight;
  }
  const Work work(model, batch.sequences, batch.batch, schedule, std::move(places));
  const Tensor hidden = executor.forward(work, state, options);

  const Stream& stream = model.stream();
  const std::int64_t rows = hidden.dim(0), chunk = chunk_rows(model.config().vocab_size);
  result.targets = rows;
  const Tensor dhidden = options.gradients ? Tensor::empty(stream, hidden.shape(), hidden.dtype()) : Tensor{};
  for (std::int64_t first = 0; first < rows; first += chunk) {
    const std::int64_t end = std::min(rows, first + chunk);
    WaveRecord record;
    Context ctx{stream, options.gradients ? &record : nullptr, options.training, 0, 1};
    const Tensor part = hidden.slice(first, end);
    const Var input = options.gradients ? record.leaf(part) : Var(part);
    std::vector<std::int32_t> ids;
    std::vector<double> scale;
    for (std::int64_t row = first; row < end; ++row) {
      const Target& target = batch.targets[static_cast<std::size_t>(row)];
      ids.push_back(target.id);
      scale.push_back(grad_scale * target.weight);
    }
    const ops::CrossEntropy loss =
        ops::cross_entropy(ctx, model.head(ctx, input), Tensor::from<std::int32_t>(stream, {end - first}, ids));
    const Tensor values = loss.loss.value.to_cpu(stream).to(Stream{}, DType::kF64);
    for (std::int64_t row = first; row < end; ++row) {
      const double value = values.data<double>()[row - first];
      result.loss_by_target.push_back(value);
      result.sum += batch.targets[static_cast<std::size_t>(row)].weight * value;
    }
    const std::vector<std::uint8_t> correct = loss.correct.to_cpu(stream).to_vector<std::uint8_t>();
    result.correct_by_target.insert(result.correct_by_target.end(), correct.begin(), correct.end());
    if (!options.gradients) continue;
    record.set_grad(loss.loss, Tensor::from<double>({end - first}, scale).to(stream, wide(hidden.dtype())));
    record.backward(stream);
    dhidden.slice(first, end).copy_from(stream, record.grad(input).reshape(part.shape()));
  }
  result.correct = std::count(result.correct_by_target.begin(), result.correct_by_target.end(), 1);
  if (options.gradients) executor.backward(dhidden);
  return result;
}

}  // namespace wt
