#include "train/run/resume.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <string_view>

#include "core/error.h"
#include "core/files.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

// Keys of a stage that may change while it runs.
constexpr std::array<std::string_view, 11> kOpenStageKeys{"name",
                                                          "steps",
                                                          "batch_size",
                                                          "lr",
                                                          "lr_schedule",
                                                          "warmup",
                                                          "min_lr_ratio",
                                                          "stop_metric",
                                                          "stop_at",
                                                          "validation_samples",
                                                          "validation_tokens"};

// The stages that have begun, the one in progress among them.
std::size_t stages_begun(const TrainState& state) {
  return static_cast<std::size_t>(state.stage) + (state.stage > 0 || state.stage_step > 0 ? 1 : 0);
}

struct StageKey {
  std::size_t stage = 0;
  std::string key;
};
// "train.stages.3.lr" taken apart.
std::optional<StageKey> stage_key(const std::string& path) {
  constexpr std::string_view kPrefix = "train.stages.";
  if (!path.starts_with(kPrefix)) return std::nullopt;
  const std::size_t dot = path.find('.', kPrefix.size());
  return StageKey{std::stoul(path.substr(kPrefix.size(), dot - kPrefix.size())), path.substr(dot + 1)};
}

bool may_change(const std::string& path, const TrainState& state) {
  if (const auto key = stage_key(path)) {
    const std::size_t begun = stages_begun(state);
    if (key->stage >= begun) return true;
    if (key->stage + 1 < begun) return key->key == "name";
    return std::find(kOpenStageKeys.begin(), kOpenStageKeys.end(), key->key) != kOpenStageKeys.end();
  }
  if (path == "train.freeze" || path == "run.dtype") return false;
  // Where the data lie may change; that they are the same is checked by their content (train/run/data_files.h).
  if (path == "data.loader_threads" || path == "data.tokenizer") return true;
  return path.starts_with("run.") || path.starts_with("train.") || path.starts_with("eval.");
}

// data.babi and data.books: one path for another, not for simulated stories or none.
bool is_moved_path(const std::string& path, const std::string& before, const std::string& now) {
  if (path == "data.babi") return before != "simulate" && now != "simulate";
  return path == "data.books" && before != "none" && now != "none";
}

std::vector<ConfigChange> differences(const Config& before, const Config& now) {
  const std::vector<FieldValue> old_values = config_values(before), new_values = config_values(now);
  const std::map<std::string, std::string> old_by_key(old_values.begin(), old_values.end());
  const std::map<std::string, std::string> new_by_key(new_values.begin(), new_values.end());
  std::vector<ConfigChange> changes;
  for (const auto& [key, value] : new_values) {
    const auto found = old_by_key.find(key);
    if (found == old_by_key.end())
      changes.push_back({key, "none", value});
    else if (found->second != value)
      changes.push_back({key, found->second, value});
  }
  for (const auto& [key, value] : old_values) {
    if (!new_by_key.contains(key)) changes.push_back({key, value, "none"});
  }
  // Where the folder lies is no setting of the run.
  std::erase_if(changes, [](const ConfigChange& change) { return change.key == "run.dir"; });
  return changes;
}

// The folder that a configuration file and overrides name, whatever else they lack.
std::string named_folder(const std::string& path, const std::vector<std::string>& overrides) {
  YamlNode tree = read_yaml(path);
  // The others are for the run's own configuration, which may have more stages.
  for (const std::string& override : overrides) {
    if (override.starts_with("run.dir=") || override.starts_with("run=")) apply_override(tree, override);
  }
  YamlNode only = tree;
  std::erase_if(only.fields, [](const YamlField& field) { return field.name != "run"; });
  for (YamlField& field : only.fields) {
    std::erase_if(field.node.fields, [](const YamlField& f) { return f.name != "dir"; });
  }
  Places places;
  std::string dir;
  read_fields(only, places,
              [&](Fields& f) { f.group("run", "", [&](Fields& g) { g.text("dir", dir, "", Presence::kRequired); }); });
  expand_home(places, "run.dir", dir);
  return dir;
}

}  // namespace

std::string ConfigChange::str() const {
  return cat(key, ": ", now, ", until now ", before);
}

std::vector<ConfigChange> settle_changes(const Config& before, const std::string& own, const TrainState& state,
                                         Config& now) {
  const std::size_t begun = stages_begun(state);
  if (now.train.stages.empty()) now.places.fail("train.stages", "is empty, expected at least one stage");
  if (now.train.stages.size() < begun) {
    now.places.fail("train.stages", cat("has ", now.train.stages.size(), " entries, but the run is in stage ", begun));
  }
  const auto is_own = [&](const std::string& key) { return now.places.of(key).starts_with(own); };
  std::vector<ConfigChange> refused;
  for (const ConfigChange& change : differences(before, now)) {
    if (may_change(change.key, state) || is_moved_path(change.key, change.before, change.now)) continue;
    const auto key = stage_key(change.key);
    if (!key || !is_own(change.key)) refused.push_back(change);
  }
  if (!refused.empty()) {
    std::string others;
    for (std::size_t i = 1; i < refused.size(); ++i) others += cat("; also ", refused[i].str());
    now.places.fail(refused.front().key, cat("is ", refused.front().now, ", but the run was trained with ",
                                             refused.front().before, others, ". Leave it out, or start a new run"));
  }
  // What a stage that has begun only inherits stays as it was then.
  for (std::size_t i = 0; i < begun; ++i) {
    StageConfig kept = before.train.stages[i];
    const StageConfig& wanted = now.train.stages[i];
    kept.name = wanted.name;
    if (i + 1 == begun) {
      kept.steps = wanted.steps;
      kept.batch_size = wanted.batch_size;
      kept.lr = wanted.lr;
      kept.lr_schedule = wanted.lr_schedule;
      kept.warmup = wanted.warmup;
      kept.min_lr_ratio = wanted.min_lr_ratio;
      kept.stop_metric = wanted.stop_metric;
      kept.stop_at = wanted.stop_at;
      kept.validation_samples = wanted.validation_samples;
      kept.validation_tokens = wanted.validation_tokens;
      if (kept.steps < state.stage_step) {
        now.places.fail(cat("train.stages.", i, ".steps"),
                        cat("is ", kept.steps, ", but the run has taken ", state.stage_step, " steps of this stage"));
      }
    }
    now.train.stages[i] = kept;
  }
  check_config(now);
  return differences(before, now);
}

std::int64_t next_sample_offset(const Config& before, const Config& now, const TrainState& state) {
  const auto stage = static_cast<std::size_t>(state.stage);
  const auto taken = [&](const Config& c) {
    return c.train.first_sample(stage) +
           state.stage_step * c.train.grad_accumulation * c.train.stages[stage].batch_size;
  };
  return state.sample_offset + taken(before) - taken(now);
}

ResumedRun resume_run(const std::string& path, const std::vector<std::string>& overrides,
                      const std::function<void(const std::string&)>& report) {
  const bool is_folder = fs::is_directory(path);
  const std::string dir = is_folder ? path : named_folder(path, overrides);
  ResumedRun run{RunFolder::resume(dir), {}, {}, "", {}, {}};
  const std::string own_path = run.folder.config_path();
  const Config before = load_config(own_path);
  YamlNode tree = read_yaml(own_path);
  if (!is_folder && !fs::equivalent(path, own_path)) {
    run.given = read_file(path);
    if (fs::exists(run.folder.given_path())) {
      carry_changes(read_yaml(run.folder.given_path()), parse_yaml(run.given, path), tree);
    } else {
      report(cat(dir, " keeps no copy of the file that it was started with: its own config.yaml holds, and of ", path,
                 " only run.dir"));
    }
  }
  run.config = config_of(tree, overrides);
  if (is_folder && run.config.places.of("run.dir").starts_with("command line") &&
      fs::weakly_canonical(run.config.run.dir) != fs::weakly_canonical(dir)) {
    run.config.places.fail("run.dir", cat("is ", run.config.run.dir, ", but ", dir, " is to go on"));
  }
  run.config.run.dir = dir;

  run.newest = CheckpointStore(dir, StoreMode::kRead).load_newest(report);
  if (run.newest) {
    const std::string state_path = run.newest->folder + "/state.json";
    run.state = TrainState::from_json(run.newest->state_json, state_path);
    const auto stages = static_cast<std::int64_t>(before.train.stages.size());
    WT_CHECK(run.state.stage < stages, state_path, ": is of stage ", run.state.stage + 1, ", ", own_path, " has ",
             stages);
  }
  run.changes = settle_changes(before, own_path + ":", run.state, run.config);
  if (run.newest) run.state.sample_offset = next_sample_offset(before, run.config, run.state);

  // A last stage that took all its steps, or was stopped by a rule that is another one now, goes on.
  TrainState& state = run.state;
  const auto stage = static_cast<std::size_t>(state.stage);
  const StageConfig &then = before.train.stages[stage], &now = run.config.train.stages[stage];
  const bool other_rule = then.stop_at != now.stop_at || then.stop_metric != now.stop_metric ||
                          before.train.early_stopping_patience != run.config.train.early_stopping_patience;
  if (state.stage_done && state.stage_step < now.steps && (now.steps > then.steps || other_rule)) {
    state.stage_done = false;
  } else if (!state.stage_done && state.stage_step >= now.steps) {
    state.stage_done = state.validation_due = true;  // the stage was made to end here
  }
  return run;
}

}  // namespace wt
