#include "train/bench/chunking.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/memory.h"
#include "core/text.h"
#include "train/bench/bench.h"
#include "train/eval/generate.h"
#include "train/report/charts.h"
#include "train/units.h"

namespace wt {
namespace {

ChunkingRow run_once(const Model& model, const ChunkingCase& of, const std::vector<std::int32_t>& prompt) {
  const Stream& stream = model.stream();
  ChunkingRow row{.of = of, .chunks = (of.prompt + of.chunk - 1) / of.chunk};
  stream.synchronize();
  reset_peak(stream.device());
  const double start = steady_seconds();
  const auto heard = [&](int, std::int32_t) {
    if (row.first_token == 0) row.first_token = steady_seconds() - start;
    return true;
  };
  GenerateOptions options;
  options.max_new_tokens = of.cached ? of.new_tokens : 1;
  std::vector<std::int32_t> text = prompt;
  for (std::int64_t step = 0; step < (of.cached ? 1 : of.new_tokens); ++step) {
    const std::vector<std::int32_t> next = generate(model, {text}, options, heard).front();
    text.insert(text.end(), next.begin(), next.end());
  }
  row.latency = steady_seconds() - start;
  row.between_tokens = of.new_tokens > 1 ? (row.latency - row.first_token) / static_cast<double>(of.new_tokens - 1) : 0;
  row.tokens_per_second = static_cast<double>(of.new_tokens) / row.latency;
  row.peak_bytes = memory_use(stream.device()).peak;
  return row;
}

struct Measure {
  const char *name, *title, *axis, *unit;
  double (*value)(const ChunkingRow&);
};
constexpr Measure kMeasures[] = {
    {"first_token", "Time to first token", "milliseconds", " ms",
     [](const ChunkingRow& row) { return 1e3 * row.first_token; }},
    {"latency", "Time to the last token", "seconds", " s", [](const ChunkingRow& row) { return row.latency; }},
    {"tokens_per_second", "New tokens a second", "tokens a second", " tokens/s",
     [](const ChunkingRow& row) { return row.tokens_per_second; }},
    {"memory", "Peak memory", "GiB", " GiB",
     [](const ChunkingRow& row) { return static_cast<double>(row.peak_bytes) / (1 << 30); }},
};

// A round number above all values, and a fifth of it.
ChartScale scale_of(const Measure& measure, double most) {
  const double power = std::pow(10, std::floor(std::log10(std::max(most, 1e-9))));
  double top = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= most) {
      top = factor * power;
      break;
    }
  }
  return {.title = measure.axis, .unit = measure.unit, .top = top, .step = top / 5};
}

}  // namespace

ChunkingRow bench_chunking(Model& model, const ChunkingCase& of, int repeats) {
  model.read_by(of.chunk);
  const std::vector<std::int32_t> prompt = random_ids(of.prompt, model.config().vocab_size, 0);
  run_once(model, of, prompt);
  std::vector<ChunkingRow> rows;
  for (int i = 0; i < repeats; ++i) rows.push_back(run_once(model, of, prompt));
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.latency < b.latency; });
  return rows[rows.size() / 2];
}

std::vector<ChunkingPicture> chunking_pictures(const std::vector<ChunkingRow>& rows, const std::string& subtitle) {
  std::vector<ChunkingPicture> pictures;
  for (const bool cached : {true, false}) {
    std::vector<std::int64_t> prompts;
    std::vector<std::pair<std::int64_t, bool>> kinds;  // chunk and strategy
    const auto add = [](auto& list, const auto& value) {
      if (std::find(list.begin(), list.end(), value) == list.end()) list.push_back(value);
    };
    for (const ChunkingRow& row : rows) {
      if (row.of.cached != cached) continue;
      add(prompts, row.of.prompt);
      add(kinds, std::pair(row.of.chunk, row.of.passes_state));
    }
    if (prompts.empty()) continue;
    std::sort(prompts.begin(), prompts.end());
    std::vector<std::string> columns;
    for (const std::int64_t prompt : prompts) columns.push_back(std::to_string(prompt));
    for (const Measure& measure : kMeasures) {
      std::vector<ChartLine> lines;
      double most = 0;
      for (const auto& [chunk, passes] : kinds) {
        ChartLine line{cat(passes ? "passed" : "independent", ", chunks of ", chunk),
                       std::vector<std::optional<double>>(prompts.size())};
        for (const ChunkingRow& row : rows) {
          if (row.of.cached != cached || row.of.chunk != chunk || row.of.passes_state != passes) continue;
          const auto at = std::find(prompts.begin(), prompts.end(), row.of.prompt) - prompts.begin();
          line.values[static_cast<std::size_t>(at)] = measure.value(row);
          most = std::max(most, measure.value(row));
        }
        lines.push_back(std::move(line));
      }
      const std::string title = cat(measure.title, cached ? "" : ", the text read again for every token");
      pictures.push_back({cat(measure.name, cached ? "" : "_uncached"),
                          line_chart_svg(title, subtitle, "prompt, tokens", columns, lines, scale_of(measure, most))});
    }
  }
  return pictures;
}

}  // namespace wt
