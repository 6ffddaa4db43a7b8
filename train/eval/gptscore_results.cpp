#include "train/eval/gptscore_results.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.h"
#include "core/text.h"
#include "data/csv.h"

namespace wt {
namespace {

using Json = nlohmann::ordered_json;

struct Part {
  const char* name;
  double PairScore::*value;
  std::optional<BoxStatistics> AspectStatistics::*statistics;
};
constexpr std::array<Part, 4> kParts{{{"ref_hypo", &PairScore::ref_hypo, &AspectStatistics::ref_hypo},
                                      {"hypo_ref", &PairScore::hypo_ref, &AspectStatistics::hypo_ref},
                                      {"avg_f", &PairScore::avg_f, &AspectStatistics::avg_f},
                                      {"harm_f", &PairScore::harm_f, &AspectStatistics::harm_f}}};

std::optional<BoxStatistics> statistics_of(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  return box_statistics(std::move(values));
}

// How wide a column of these is.
std::size_t width_of(const std::vector<std::string>& names, std::size_t least) {
  for (const std::string& name : names) least = std::max(least, name.size());
  return least;
}

std::string columns_of(const std::optional<BoxStatistics>& box) {
  if (!box) return fmt::format(" {:>11} {:>8} {:>8} {:>8}", "-", "-", "-", "-");
  return fmt::format(" {:>11.3f} {:>8.3f} {:>8.3f} {:>8.3f}", box->mean, box->median, box->q1, box->q3);
}

Json json_of(const std::optional<BoxStatistics>& box) {
  if (!box) return nullptr;
  return {{"n", box->count}, {"mean", box->mean}, {"median", box->median}, {"q1", box->q1},
          {"q3", box->q3},   {"low", box->low},   {"high", box->high},     {"outliers", box->outliers}};
}

Json json_of(const std::optional<double>& value) {
  return value ? Json(*value) : Json(nullptr);
}

std::string references_of(const ScoreLine& line) {
  return line.references.size() == 1 ? line.references.front() : Json(line.references).dump();
}

}  // namespace

std::vector<SystemStatistics> statistics_by_system(const ScoredLines& scored) {
  std::vector<SystemStatistics> systems;
  for (const ScoreLine& line : scored.lines) {
    const auto is_it = [&](const SystemStatistics& system) { return system.system == line.system; };
    if (std::none_of(systems.begin(), systems.end(), is_it)) systems.push_back({line.system, 0, 0, {}, {}});
  }
  for (SystemStatistics& system : systems) {
    std::vector<const LineScores*> own;
    for (std::size_t i = 0; i < scored.scores.size(); ++i) {
      if (scored.lines[i].system == system.system) own.push_back(&scored.scores[i]);
    }
    system.lines = static_cast<std::int64_t>(own.size());
    system.without_score =
        std::count_if(own.begin(), own.end(), [](const LineScores* scores) { return !has_score(*scores); });
    for (std::size_t k = 0; k < scored.aspects.size(); ++k) {
      AspectStatistics statistics;
      statistics.aspect = scored.aspects[k].name;
      for (const Part& part : kParts) {
        std::vector<double> values;
        for (const LineScores* scores : own) {
          if (scores->aspects[k]) values.push_back((*scores->aspects[k]).*part.value);
        }
        statistics.*part.statistics = statistics_of(std::move(values));
      }
      system.aspects.push_back(std::move(statistics));
    }
    std::vector<double> nll;
    for (const LineScores* scores : own) {
      if (scores->reference_nll) nll.push_back(*scores->reference_nll);
    }
    system.reference_nll = statistics_of(std::move(nll));
  }
  return systems;
}

bool has_score(const LineScores& scores) {
  return std::any_of(scores.aspects.begin(), scores.aspects.end(),
                     [](const auto& aspect) { return aspect.has_value(); });
}

std::string without_score(const ScoredLines& scored) {
  constexpr std::size_t kShown = 5;
  std::string places;
  std::size_t count = 0;
  for (std::size_t i = 0; i < scored.scores.size(); ++i) {
    if (has_score(scored.scores[i])) continue;
    if (++count <= kShown) places += cat(count == 1 ? "" : ", ", scored.lines[i].place);
  }
  if (count == 0) return "";
  return cat(count, " of ", scored.scores.size(), count == 1 ? " lines has" : " lines have",
             " no score, since hypothesis or reference is empty: ", places, count > kShown ? ", …" : "");
}

std::string gptscore_table(const ScoredLines& scored) {
  const std::vector<SystemStatistics> systems = statistics_by_system(scored);
  std::vector<std::string> names, aspects;
  for (const SystemStatistics& system : systems) names.push_back(printable_line(system.system));
  for (const Aspect& aspect : scored.aspects) aspects.push_back(printable_line(aspect.name));
  const std::size_t wide = width_of(aspects, std::string_view("reference_nll").size()),
                    system_wide = width_of(names, 6);
  const auto row = [&](const std::string& aspect, const std::string& system, const std::string& count) {
    return fmt::format("{:<{}} {:<{}} {:>6}", aspect, wide, system, system_wide, count);
  };
  const auto heading = [](const char* of) {
    return fmt::format(" {:>11} {:>8} {:>8} {:>8}", cat(of, " mean"), "median", "q1", "q3");
  };
  const auto count_of = [](const std::optional<BoxStatistics>& box) { return fmt::format("{}", box ? box->count : 0); };
  std::string out = row("aspect", "system", "n") + heading("avg_f") + " " + heading("harm_f") + "\n";
  for (std::size_t k = 0; k < aspects.size(); ++k) {
    for (std::size_t i = 0; i < systems.size(); ++i) {
      const AspectStatistics& aspect = systems[i].aspects[k];
      out += row(aspects[k], names[i], count_of(aspect.avg_f)) + columns_of(aspect.avg_f) + " " +
             columns_of(aspect.harm_f) + "\n";
    }
  }
  const auto has_sources = [](const SystemStatistics& system) { return system.reference_nll.has_value(); };
  if (std::none_of(systems.begin(), systems.end(), has_sources)) return out;
  out += "\n" + row("", "system", "n") + heading("nll") + "\n";
  for (std::size_t i = 0; i < systems.size(); ++i) {
    const std::optional<BoxStatistics>& nll = systems[i].reference_nll;
    out += row("reference_nll", names[i], count_of(nll)) + columns_of(nll) + "\n";
  }
  return out;
}

std::string gptscore_csv(const ScoredLines& scored) {
  std::string out = "id,system,src,ref,hyp";
  for (const Aspect& aspect : scored.aspects) {
    for (const Part& part : kParts) out += "," + csv_field(cat(aspect.name, "_", part.name));
  }
  out += ",reference_nll\n";
  for (std::size_t i = 0; i < scored.scores.size(); ++i) {
    const ScoreLine& line = scored.lines[i];
    out += cat(csv_field(line.id), ",", csv_field(line.system), ",", csv_field(line.source), ",",
               csv_field(references_of(line)), ",", csv_field(line.hypothesis));
    for (const auto& aspect : scored.scores[i].aspects) {
      for (const Part& part : kParts) out += aspect ? fmt::format(",{}", (*aspect).*part.value) : ",";
    }
    const auto& nll = scored.scores[i].reference_nll;
    out += nll ? fmt::format(",{}\n", *nll) : ",\n";
  }
  return out;
}

std::string gptscore_json(const ScoredLines& scored, const GptScoreSettings& settings) {
  Json instructions = Json::object(), systems = Json::array(), scores = Json::array();
  for (const Aspect& aspect : scored.aspects) {
    instructions[aspect.name] = aspect.sentence ? Json(*aspect.sentence) : Json(nullptr);
  }
  for (const SystemStatistics& system : statistics_by_system(scored)) {
    Json aspects = Json::object();
    for (const AspectStatistics& aspect : system.aspects) {
      for (const Part& part : kParts) aspects[aspect.aspect][part.name] = json_of(aspect.*part.statistics);
    }
    systems.push_back({{"system", system.system},
                       {"lines", system.lines},
                       {"without_score", system.without_score},
                       {"aspects", aspects},
                       {"reference_nll", json_of(system.reference_nll)}});
  }
  for (std::size_t i = 0; i < scored.scores.size(); ++i) {
    Json aspects = Json::object();
    for (std::size_t k = 0; k < scored.aspects.size(); ++k) {
      const std::optional<PairScore>& score = scored.scores[i].aspects[k];
      Json& aspect = aspects[scored.aspects[k].name] = nullptr;
      for (const Part& part : kParts) {
        if (score) aspect[part.name] = (*score).*part.value;
      }
    }
    scores.push_back({{"id", scored.lines[i].id},
                      {"system", scored.lines[i].system},
                      {"aspects", aspects},
                      {"reference_nll", json_of(scored.scores[i].reference_nll)}});
  }
  const bool keeps = settings.options.first_label == FirstLabel::kKeep;
  const Json all = {{"model", settings.model},
                    {"tokenizer", settings.tokenizer},
                    {"dtype", settings.dtype},
                    {"max_tokens", settings.options.max_tokens},
                    {"first_label", keeps ? "keep" : "drop"},
                    {"special_tokens", settings.options.special_tokens},
                    {"instructions", instructions},
                    {"systems", systems},
                    {"scores", scores}};
  return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";  // a path may be anything
}

std::string gptscore_chart(const ScoredLines& scored, const std::string& evaluator) {
  const std::vector<SystemStatistics> systems = statistics_by_system(scored);
  std::vector<BoxPanel> panels;
  for (std::size_t k = 0; k < scored.aspects.size(); ++k) {
    BoxPanel& panel = panels.emplace_back(BoxPanel{scored.aspects[k].name, "avg_f, nats a token", {}});
    for (const SystemStatistics& system : systems) panel.boxes.push_back({system.system, system.aspects[k].avg_f});
  }
  BoxPanel nll{"reference_nll (lower is better)", "nats a token", {}};
  for (const SystemStatistics& system : systems) nll.boxes.push_back({system.system, system.reference_nll});
  const auto has_values = [](const Box& box) { return box.statistics.has_value(); };
  if (std::any_of(nll.boxes.begin(), nll.boxes.end(), has_values)) panels.push_back(std::move(nll));
  return box_plot_svg("GPTScore", "evaluator " + evaluator, panels);
}

}  // namespace wt
