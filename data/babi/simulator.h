// bAbI stories without end, made by our own simulator of the tasks' little worlds.
//
// Wording, lengths, the choice of questions and the mix of answers follow the published files (en-10k), as measured;
// tests/data/babi_simulator_*test.cpp hold each figure.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "data/babi/stories.h"
#include "data/splits.h"

namespace wt {

// A pure function of its arguments: story `index` (< 2^46) of a task. Throws UsageError for anything but qa1 ... qa20.
BabiStory simulate_story(std::string_view task, std::uint64_t seed, std::uint64_t index, Split split = Split::kTrain);

// The first `num_stories` stories: what `wavetape data babi` writes.
std::vector<BabiStory> simulate_stories(std::string_view task, std::uint64_t seed, std::uint64_t num_stories,
                                        Split split = Split::kTrain);

}  // namespace wt
