#include "train/eval/likelihood.h"

#include <algorithm>
#include <cmath>

#include "schedulers/language_model.h"
#include "train/eval/generate.h"

namespace wt {

std::vector<std::optional<double>> mean_log_likelihoods(const Model& model, const std::vector<LabelledText>& texts,
                                                        std::int64_t batch_size, Schedule schedule,
                                                        const std::function<bool(std::int64_t)>& progress) {
  WT_CHECK(batch_size > 0, "likelihood: batch_size is ", batch_size, ", expected at least 1");
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto &ids = texts[i].ids, &labels = texts[i].labels;
    if (labels.empty()) continue;
    WT_CHECK(labels.size() < ids.size(), "likelihood: text ", i, " has ", ids.size(), " tokens and ", labels.size(),
             " labels: nothing stands before the first");
    order.push_back(i);
  }
  // The longest first: what does not fit in memory shows at once.
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return texts[a].ids.size() > texts[b].ids.size(); });

  std::vector<std::optional<double>> means(texts.size());
  Executor executor(model);
  auto done = static_cast<std::int64_t>(texts.size() - order.size());
  for (std::size_t first = 0; first < order.size(); first += static_cast<std::size_t>(batch_size)) {
    const std::size_t end = std::min(order.size(), first + static_cast<std::size_t>(batch_size));
    TokenBatch batch;
    batch.batch = static_cast<int>(end - first);
    for (std::size_t k = first; k < end; ++k) {
      const LabelledText& text = texts[order[k]];
      const auto sequence = static_cast<std::int32_t>(k - first);
      auto position = static_cast<std::int64_t>(text.ids.size() - text.labels.size()) - 1;
      for (const std::int32_t label : text.labels) batch.targets.push_back({sequence, position++, label});
      batch.sequences.push_back(text.ids);
    }
    State state = model.new_state(batch.batch);
    const LossResult result = run_language_model(executor, model, batch, schedule, {}, 1, state);
    auto loss = result.loss_by_target.begin();
    for (std::size_t k = first; k < end; ++k) {
      const std::size_t count = texts[order[k]].labels.size();
      double sum = 0;
      for (std::size_t i = 0; i < count; ++i) sum -= *loss++;
      if (!std::isfinite(sum)) {
        throw NotFinite(cat("the likelihood of a text is not finite (", name_of(model.dtype()),
                            "): weights are damaged or too large for this dtype, or a training that diverged has "
                            "written them"));
      }
      means[order[k]] = sum / static_cast<double>(count);
    }
    done += batch.batch;
    if (progress && !progress(done)) return {};
  }
  return means;
}

}  // namespace wt
