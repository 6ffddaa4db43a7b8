// Taking up a run: which configuration it goes on with, and what of it may differ from what the run was trained with.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "train/config.h"
#include "train/metrics.h"
#include "train/run/checkpoint.h"
#include "train/run/run_state.h"

namespace wt {

struct ConfigChange {
  std::string key, before, now;  // values as YAML, "none" where there is none
  std::string str() const;       // "train.stages.0.steps: 40, until now 20"
};

// A run folder, locked, and all that is needed to go on in it.
struct ResumedRun {
  RunFolder folder;
  Config config;
  std::vector<ConfigChange> changes;  // against the folder's config.yaml
  std::string given;                  // the text of the configuration file that was named, if one was
  std::optional<Checkpoint> newest;   // nothing where the run was stopped before its first checkpoint
  TrainState state;
};

// `path` is the run folder, or the configuration file that names it. The run's own config.yaml holds; what has changed
// in the configuration file since the run was started with it comes on top, then the overrides. A change of what was
// trained is a UsageError with both values: of the model, the data, the seeds and of the stages that have begun, whose
// learning rate, batch and number of steps may change from here on. So is a stage with fewer steps than were taken.
// `report` hears of damaged checkpoints that are passed over.
ResumedRun resume_run(const std::string& path, const std::vector<std::string>& overrides,
                      const std::function<void(const std::string&)>& report);

// The rules alone: settles what of `now` holds (stages that have begun keep what they only inherit) and returns its
// changes. `own` is how places in the run's own file begin.
std::vector<ConfigChange> settle_changes(const Config& before, const std::string& own, const TrainState& state,
                                         Config& now);

// Where a stage's samples go on in `now` so that none comes back after a change of batch or steps.
std::int64_t next_sample_offset(const Config& before, const Config& now, const TrainState& state);

}  // namespace wt
