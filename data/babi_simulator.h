// bAbI stories without end, made by our own simulator of the tasks' little worlds.
//
// Wording, lengths, the choice of questions and the mix of answers follow the published files (en-10k), as measured;
// tests/data/babi_simulator_test.cpp holds each figure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/babi.h"
#include "data/splits.h"

namespace wt {

// The tasks there is a simulator for: "qa1", "qa2", ...
std::vector<std::string> simulated_tasks();

// A pure function of its arguments: story `index` (< 2^46) of a task. Throws UsageError for a task without a simulator,
// naming those that have one.
BabiStory simulate_story(std::string_view task, std::uint64_t seed, std::uint64_t index, Split split = Split::kTrain);

// The first `num_stories` stories: what `wavetape data babi` writes.
std::vector<BabiStory> simulate_stories(std::string_view task, std::uint64_t seed, std::uint64_t num_stories,
                                        Split split = Split::kTrain);

}  // namespace wt
