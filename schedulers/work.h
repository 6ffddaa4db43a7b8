// What an executor works through: sequences, how they are cut into segments, in what order cells run, and whose output
// is wanted.
#pragma once

#include <optional>
#include <vector>

#include "schedulers/plan.h"
#include "schedulers/wave_inputs.h"

namespace wt {

struct Work {
  // `batch` sequences stand side by side; more than that make further rounds. Segments are as the model's; `alignment`
  // in place of its own where reading goes on later.
  Work(const Model& model, TokenSequences ids, int batch, Schedule schedule, std::vector<TokenPlace> wanted = {},
       std::optional<SegmentAlignment> alignment = {});

  TokenSequences sequences;
  SegmentGrid grid;
  Plan plan;
  std::vector<TokenPlace> places;
};

}  // namespace wt
