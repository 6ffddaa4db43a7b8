#include "train/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/random.h"
#include "kernels/argmax.h"
#include "schedulers/decoder.h"
#include "schedulers/executor.h"

namespace wt {

std::int32_t sample_token(const std::vector<double>& logits, double temperature, double top_p, double uniform) {
  const auto best = std::max_element(logits.begin(), logits.end());
  if (temperature <= 0) return static_cast<std::int32_t>(best - logits.begin());
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    const double la = logits[static_cast<std::size_t>(a)], lb = logits[static_cast<std::size_t>(b)];
    return la != lb ? la > lb : a < b;
  });
  std::vector<double> weight;
  double total = 0;
  for (const std::int32_t id : order) {
    weight.push_back(std::exp((logits[static_cast<std::size_t>(id)] - *best) / temperature));
    total += weight.back();
  }
  double kept = 0;
  std::size_t count = 0;
  while (count < order.size() && (count == 0 || kept < top_p * total)) kept += weight[count++];
  double left = uniform * kept;
  for (std::size_t i = 0; i < count; ++i) {
    if (left < weight[i]) return order[i];
    left -= weight[i];
  }
  return order[count - 1];
}

std::vector<std::vector<std::int32_t>> generate(const Model& model,
                                                const std::vector<std::vector<std::int32_t>>& prompts,
                                                const GenerateOptions& options,
                                                const std::function<void(int, std::int32_t)>& each) {
  const int batch = static_cast<int>(prompts.size());
  std::vector<std::vector<std::int32_t>> results(prompts.size());
  if (batch == 0 || options.max_new_tokens == 0) return results;

  // All full segments before the last are closed; the last one, full or not, stays open.
  std::vector<std::vector<std::int32_t>> closed, open;
  std::vector<std::int64_t> lengths;
  std::vector<bool> has_memory;
  std::int64_t longest = 0;
  for (const auto& ids : prompts) {
    WT_CHECK(!ids.empty(), "generate: a prompt is empty, expected at least one token");
    const auto n = static_cast<std::int64_t>(ids.size());
    const std::int64_t size = model.segment_size(n);
    const std::int64_t end = (n - 1) / size * size;
    closed.emplace_back(ids.begin(), ids.begin() + end);
    open.emplace_back(ids.begin() + end, ids.end());
    lengths.push_back(end);
    has_memory.push_back(end > 0);
    longest = std::max(longest, n - end);
  }
  State state = model.new_state(batch);
  if (const SegmentGrid grid = make_grid(lengths, batch, model.segment_size(longest), SegmentAlignment::kLeft);
      grid.items() > 0) {
    Executor executor(model);
    executor.forward(closed, grid, make_plan(options.schedule, model.num_layers(), grid.segments_by_round), {}, state,
                     {});
  }

  const std::int64_t rows = longest + options.max_new_tokens;
  if (const std::int64_t limit = model.max_segment_tokens(); limit > 0 && rows > limit) {
    throw Error(cat("generate: the last segment would grow to ", rows, " tokens, the model's position table has ",
                    limit, "; ask for fewer new tokens"));
  }
  Decoder decoder(model, state, has_memory, rows);
  RandomStream random(options.seed, random_stream(RandomPurpose::kSampling, 0));
  std::vector<bool> done(prompts.size(), false);
  Context ctx{model.stream(), nullptr, false, 0, 1};
  for (std::int64_t step = 0; step < options.max_new_tokens; ++step) {
    Tensor logits = model.head(ctx, decoder.append(open)).value;
    std::vector<std::int32_t> best;
    if (options.temperature <= 0) {
      const Tensor index = Tensor::empty(model.stream(), {batch}, DType::kI32);
      kernels::argmax_rows(model.stream(), logits, index);
      best = index.to_cpu(model.stream()).to_vector<std::int32_t>();
    } else {
      logits = logits.to_cpu(model.stream()).to(Stream{}, DType::kF64);
    }
    bool any = false;
    for (int i = 0; i < batch; ++i) {
      const auto at = static_cast<std::size_t>(i);
      open[at].clear();
      const double uniform = random.uniform();  // drawn for finished samples too: the others' draws stay the same
      if (done[at]) continue;
      const std::int32_t id = !best.empty() ? best[at]
                                            : sample_token(logits.select(i).to_vector<double>(), options.temperature,
                                                           options.top_p, uniform);
      results[at].push_back(id);
      if (each) each(i, id);
      done[at] = std::find(options.stop_ids.begin(), options.stop_ids.end(), id) != options.stop_ids.end();
      if (!done[at]) {
        open[at] = {id};
        any = true;
      }
    }
    if (!any) break;
  }
  return results;
}

}  // namespace wt
