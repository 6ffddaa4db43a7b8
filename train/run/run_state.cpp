#include "train/run/run_state.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"

namespace wt {
namespace {

// Far above every run, and products of such numbers stay below 2^63.
constexpr std::int64_t kMost = std::int64_t{1} << 48;

}  // namespace

std::string TrainState::json() const {
  nlohmann::ordered_json j{{"stage", stage},
                           {"stage_step", stage_step},
                           {"step", step},
                           {"skipped", skipped},
                           {"optimizer_steps", optimizer_steps},
                           {"skipped_in_row", skipped_in_row},
                           {"stage_done", stage_done},
                           {"validation_due", validation_due},
                           {"best_step", best_step},
                           {"best_exact_match", best_exact_match},
                           {"best_loss", best_loss},
                           {"validations_since_best", validations_since_best},
                           {"tokens", tokens},
                           {"seconds", seconds},
                           {"sample_offset", sample_offset}};
  if (best_step < 0) j["best_step"] = j["best_exact_match"] = j["best_loss"] = nullptr;
  return j.dump(2) + "\n";
}

TrainState TrainState::from_json(const std::string& text, const std::string& name) {
  const nlohmann::json j = parse_json(text, name);
  try {
    TrainState s;
    const auto integer = [&](const char* key, std::int64_t& value, std::int64_t least) {
      const auto& number = j.at(key);
      if (!number.is_number_integer() || number < least || number > kMost) {
        throw Error(
            cat(name, ": ", key, " is ", number.dump().substr(0, 60), ", expected a whole number, at least ", least));
      }
      value = number.get<std::int64_t>();
    };
    integer("stage", s.stage, 0);
    integer("stage_step", s.stage_step, 0);
    integer("step", s.step, 0);
    integer("skipped", s.skipped, 0);
    integer("optimizer_steps", s.optimizer_steps, 0);
    j.at("stage_done").get_to(s.stage_done);
    j.at("validation_due").get_to(s.validation_due);
    if (!j.at("best_step").is_null()) {
      integer("best_step", s.best_step, -1);
      j.at("best_exact_match").get_to(s.best_exact_match);
      j.at("best_loss").get_to(s.best_loss);
    }
    integer("validations_since_best", s.validations_since_best, 0);
    integer("tokens", s.tokens, 0);
    // Not in checkpoints of before November 2026.
    if (j.contains("skipped_in_row")) integer("skipped_in_row", s.skipped_in_row, 0);
    if (j.contains("seconds")) j.at("seconds").get_to(s.seconds);
    if (j.contains("sample_offset")) integer("sample_offset", s.sample_offset, -kMost);
    return s;
  } catch (const nlohmann::json::exception&) {
    throw Error(cat(name, ": is damaged, expected an object with the numbers of a run's state"));
  }
}

}  // namespace wt
