#include "schedulers/plan.h"

#include <algorithm>

namespace wt {
namespace {

// Items [first, first + count) along anti-diagonals, drained before returning.
void append_diagonals(Plan& plan, int first, int count) {
  for (int w = 0; w < plan.layers + count - 1; ++w) {
    Wave wave;
    wave.lo = std::max(0, w - count + 1);
    wave.hi = std::min(plan.layers, w + 1);
    for (int layer = wave.lo; layer < wave.hi; ++layer) wave.items.push_back(first + w - layer);
    plan.waves.push_back(std::move(wave));
  }
}

Plan empty_plan(int layers, const std::vector<int>& segments_by_round) {
  WT_CHECK(layers > 0, "a plan needs at least one layer");
  Plan plan;
  plan.layers = layers;
  for (const int segments : segments_by_round) {
    WT_CHECK(segments > 0, "a round of a plan has ", segments, " segments, expected at least 1");
    plan.items += segments;
  }
  return plan;
}

}  // namespace

std::string_view name_of(Schedule schedule) {
  switch (schedule) {
    case Schedule::kSequential:
      return "sequential";
    case Schedule::kDiagonal:
      return "diagonal";
    case Schedule::kStreaming:
      return "streaming";
  }
  return "?";
}

Schedule schedule_from_name(std::string_view name) {
  for (const Schedule schedule : {Schedule::kSequential, Schedule::kDiagonal, Schedule::kStreaming}) {
    if (name == name_of(schedule)) return schedule;
  }
  throw UsageError(cat("unknown schedule '", name, "': expected sequential, diagonal or streaming"));
}

std::string why_sequential(std::string_view asked) {
  return cat("is ", asked,
             ", but RMT runs one segment after another: segment s+1 starts from what the last layer made ",
             "of segment s, so no two of them share a wave; expected sequential");
}

Schedule choose_schedule(std::string_view name, bool one_after_another) {
  if (name == "auto") return one_after_another ? Schedule::kSequential : Schedule::kDiagonal;
  const Schedule schedule = schedule_from_name(name);
  if (one_after_another && schedule != Schedule::kSequential) {
    throw UsageError(cat("--schedule ", why_sequential(name)));
  }
  return schedule;
}

void check_one_after_another(const Plan& plan) {
  for (std::size_t w = 0; w < plan.waves.size(); ++w) {
    const Wave& wave = plan.waves[w];
    const auto layers = static_cast<std::size_t>(plan.layers);
    if (wave.size() == 1 && wave.lo == static_cast<int>(w % layers) &&
        wave.items.front() == static_cast<std::int32_t>(w / layers)) {
      continue;
    }
    throw UsageError(cat("the schedule ", why_sequential("another")));
  }
}

double Plan::fill() const {
  return waves.empty() ? 0 : static_cast<double>(cells()) / (static_cast<double>(waves.size()) * layers);
}

Plan sequential_plan(int layers, const std::vector<int>& segments_by_round) {
  Plan plan = empty_plan(layers, segments_by_round);
  for (int item = 0; item < plan.items; ++item) {
    for (int layer = 0; layer < layers; ++layer) plan.waves.push_back({layer, layer + 1, {item}});
  }
  return plan;
}

Plan diagonal_plan(int layers, const std::vector<int>& segments_by_round) {
  Plan plan = empty_plan(layers, segments_by_round);
  int first = 0;
  for (const int segments : segments_by_round) {
    append_diagonals(plan, first, segments);
    first += segments;
  }
  return plan;
}

Plan streaming_plan(int layers, const std::vector<int>& segments_by_round) {
  Plan plan = empty_plan(layers, segments_by_round);
  if (plan.items > 0) append_diagonals(plan, 0, plan.items);
  return plan;
}

Plan make_plan(Schedule schedule, int layers, const std::vector<int>& segments_by_round) {
  switch (schedule) {
    case Schedule::kSequential:
      return sequential_plan(layers, segments_by_round);
    case Schedule::kDiagonal:
      return diagonal_plan(layers, segments_by_round);
    case Schedule::kStreaming:
      return streaming_plan(layers, segments_by_round);
  }
  throw Error("unknown schedule");
}

void check_plan(const Plan& plan) {
  // next[l]: the item that layer l has to work on next. A cell may run when the layer below is past its item.
  std::vector<int> next(static_cast<std::size_t>(plan.layers), 0);
  const Wave* before = nullptr;
  for (std::size_t w = 0; w < plan.waves.size(); ++w) {
    const Wave& wave = plan.waves[w];
    WT_CHECK(wave.lo >= 0 && wave.lo < wave.hi && wave.hi <= plan.layers, "plan: wave ", w, " has ", wave, " of ",
             plan.layers);
    WT_CHECK(static_cast<int>(wave.items.size()) == wave.size(), "plan: wave ", w, " has ", wave.items.size(),
             " items for ", wave.size(), " layers");
    for (int layer = wave.lo; layer < wave.hi; ++layer) {
      const int item = wave.item_of(layer);
      WT_CHECK(item >= 0 && item < plan.items, "plan: wave ", w, ", layer ", layer, ": item ", item, " of ",
               plan.items);
      WT_CHECK(item == next[static_cast<std::size_t>(layer)], "plan: wave ", w, ", layer ", layer, " works on item ",
               item, ", expected ", next[static_cast<std::size_t>(layer)],
               item < next[static_cast<std::size_t>(layer)] ? " (a cell runs twice)" : " (its state is not there yet)");
      if (layer > 0) {
        const bool written = before != nullptr && layer - 1 >= before->lo && layer - 1 < before->hi &&
                             before->item_of(layer - 1) == item;
        WT_CHECK(written, "plan: wave ", w, ", layer ", layer, ": the wave before did not write the input of item ",
                 item);
      }
    }
    for (int layer = wave.lo; layer < wave.hi; ++layer) ++next[static_cast<std::size_t>(layer)];
    before = &wave;
  }
  for (int layer = 0; layer < plan.layers; ++layer) {
    WT_CHECK(next[static_cast<std::size_t>(layer)] == plan.items, "plan: layer ", layer, " runs ",
             next[static_cast<std::size_t>(layer)], " of ", plan.items, " items");
  }
}

std::string draw_plan(const Plan& plan, int width) {
  const int waves = static_cast<int>(plan.waves.size());
  const int digits = static_cast<int>(std::to_string(std::max({plan.items - 1, waves - 1, plan.layers})).size());
  const int fit = std::max(4, (width - 12) / (digits + 1));
  std::vector<int> columns;  // -1: the cut
  for (int w = 0; w < waves; ++w) {
    if (waves <= fit || w < fit / 2 || w >= waves - (fit - fit / 2 - 1)) {
      columns.push_back(w);
    } else if (columns.back() >= 0) {
      columns.push_back(-1);
    }
  }
  const auto right = [](const std::string& text, int size) {
    return std::string(static_cast<std::size_t>(std::max(0, size - static_cast<int>(text.size()))), ' ') + text;
  };
  std::string out = "      wave ";
  for (const int w : columns) out += " " + right(w < 0 ? "~" : std::to_string(w), digits);
  out += "\n";
  for (int layer = plan.layers - 1; layer >= 0; --layer) {
    out += right("layer " + std::to_string(layer), 10) + " ";
    for (const int w : columns) {
      std::string cell = ".";
      if (w < 0) {
        cell = "~";
      } else if (const Wave& wave = plan.waves[static_cast<std::size_t>(w)]; layer >= wave.lo && layer < wave.hi) {
        cell = std::to_string(wave.item_of(layer));
      }
      out += " " + right(cell, digits);
    }
    out += "\n";
  }
  out += "      size ";
  for (const int w : columns) {
    out += " " + right(w < 0 ? "~" : std::to_string(plan.waves[static_cast<std::size_t>(w)].size()), digits);
  }
  return out + "\n";
}

}  // namespace wt
