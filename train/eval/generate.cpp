#include "train/eval/generate.h"

#include <algorithm>
#include <utility>

#include "core/random.h"
#include "kernels/argmax.h"
#include "kernels/sample.h"
#include "schedulers/decoder.h"
#include "train/models/finite.h"

namespace wt {
namespace {

// Rows that the key/value cache must hold.
std::int64_t cache_rows(const Model& model, std::int64_t longest, const GenerateOptions& options) {
  // A full window is read again from its second token on, beside samples whose windows are not full yet.
  const std::int64_t window = model.config().window;
  if (window > 0 && longest + options.max_new_tokens > window) return 2 * window;
  const std::int64_t tokens = longest + options.max_new_tokens, size = model.segment_size(tokens);
  const bool closes = options.close_segments && tokens > size;
  const std::int64_t rows = closes ? size : tokens;
  if (const std::int64_t limit = model.max_segment_tokens(); limit > 0 && rows > limit) {
    throw Error(cat("generate: the last segment would grow to ", rows, " tokens, the model reads at most ", limit,
                    "; ask for fewer new tokens"));
  }
  return closes ? size + model.config().num_mem_tokens() : rows;
}

// Throws NotFinite where a sample's logits are not finite. On a GPU only a first element that was chosen is looked at:
// that is what a row of nothing but NaN gives, and fetching it costs little.
void check_logits(const Model& model, const Tensor& logits, int sample, std::int32_t chosen) {
  const bool cpu = model.stream().device().is_cpu();
  if (!cpu && chosen != 0) return;
  const Tensor row = logits.slice(sample, sample + 1);
  if (all_finite(cpu ? row : row.to_cpu(model.stream()))) return;
  throw NotFinite(
      cat("the model's logits are not finite (", name_of(model.dtype()),
          "): weights are damaged or too large for this dtype, or a training that diverged has written them"));
}

}  // namespace

std::vector<std::vector<std::int32_t>> generate(const Model& model, const TokenSequences& prompts,
                                                const GenerateOptions& options, const EachToken& each) {
  if (prompts.empty() || options.max_new_tokens == 0) return std::vector<std::vector<std::int32_t>>(prompts.size());
  for (const auto& ids : prompts) {
    WT_CHECK(!ids.empty(), "generate: a prompt is empty, expected at least one token");
  }
  Reading reading = new_reading(model, static_cast<int>(prompts.size()));
  read_on(model, prompts, options.schedule, reading);
  return generate_after(model, reading, options, each);
}

std::vector<std::vector<std::int32_t>> generate_after(const Model& model, Reading& reading,
                                                      const GenerateOptions& options, const EachToken& each) {
  const int batch = reading.batch();
  const auto count = static_cast<std::size_t>(batch);
  std::vector<std::vector<std::int32_t>> results(count);
  if (options.max_new_tokens == 0) return results;
  std::vector<std::int64_t> past;
  std::int64_t longest = 0;
  const std::int64_t window = model.config().window;
  const auto keep_window = [&](std::vector<std::int32_t>& open) {
    const auto n = static_cast<std::int64_t>(open.size());
    if (window > 0 && n > window) open.erase(open.begin(), open.end() - window);
  };
  for (std::size_t at = 0; at < count; ++at) {
    auto& open = reading.open[at];
    WT_CHECK(!open.empty(), "generate: nothing was read, expected at least one token");
    keep_window(open);
    past.push_back(model.closed_rows(reading.closed[at]));
    longest = std::max(longest, static_cast<std::int64_t>(reading.open[at].size()));
  }
  const std::int64_t size = options.close_segments ? model.segment_size(longest + options.max_new_tokens) : -1;
  Decoder decoder(model, reading.memory, past, cache_rows(model, longest, options));
  std::vector<RandomStream> random;
  for (std::size_t at = 0; at < count; ++at) {
    random.emplace_back(options.seed, random_stream(RandomPurpose::kSampling, options.first_prompt + at));
  }
  TokenSequences next = reading.open;
  std::vector<bool> done(count, false);
  Context ctx{model.stream(), nullptr, false, 0, 1};
  for (std::int64_t step = 0; step < options.max_new_tokens; ++step) {
    if (step > 0) {
      std::vector<bool> full(count, false);
      for (std::size_t at = 0; at < count; ++at) {
        auto& open = reading.open[at];
        full[at] = !next[at].empty() && decoder.length(static_cast<int>(at)) == (window > 0 ? window : size);
        if (full[at] && window == 0) reading.closed[at] += static_cast<std::int64_t>(std::exchange(open, {}).size());
        open.insert(open.end(), next[at].begin(), next[at].end());
        keep_window(open);
        if (full[at] && window > 0) next[at] = open;
      }
      if (std::find(full.begin(), full.end(), true) != full.end()) {
        window > 0 ? decoder.clear(full) : decoder.close(full);
        reading.memory = decoder.state();
      }
    }
    const Tensor logits = model.head(ctx, decoder.append(next)).value;
    const Tensor index = Tensor::empty(model.stream(), {batch}, DType::kI32);
    if (options.temperature > 0) {
      std::vector<double> uniform;
      for (RandomStream& draws : random) uniform.push_back(draws.uniform());
      kernels::sample_rows(model.stream(), logits, options.temperature, options.top_p,
                           Tensor::from<double>(model.stream(), {batch}, uniform), index);
    } else {
      kernels::argmax_rows(model.stream(), logits, index);
    }
    const std::vector<std::int32_t> ids = index.to_cpu(model.stream()).to_vector<std::int32_t>();
    bool any = false;
    for (int i = 0; i < batch; ++i) {
      const auto at = static_cast<std::size_t>(i);
      next[at].clear();
      if (done[at]) continue;
      const std::int32_t id = ids[at];
      check_logits(model, logits, i, id);
      results[at].push_back(id);
      done[at] = std::find(options.stop_ids.begin(), options.stop_ids.end(), id) != options.stop_ids.end();
      if (each && !each(i, id)) done[at] = true;
      if (!done[at]) {
        next[at] = {id};
        any = true;
      }
    }
    if (!any) break;
  }
  return results;
}

}  // namespace wt
