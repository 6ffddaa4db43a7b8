// bAbI stories without end, made by our own simulator of the tasks' little worlds.
//
// Wording, lengths, the choice of questions and the mix of answers follow the published files (en-10k), as measured;
// tests/data/babi_simulator_*test.cpp hold each figure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "core/random.h"
#include "data/babi/stories.h"
#include "data/splits.h"

namespace wt {

// A pure function of its arguments: story `index` (< 2^46) of a task. Throws UsageError for anything but qa1 ... qa20.
BabiStory simulate_story(std::string_view task, std::uint64_t seed, std::uint64_t index, Split split = Split::kTrain);

// A sample of a story that `story` draws, at one of its questions, drawn evenly by `question`; none where it has not
// the number of facts asked for. No more of the story is made than it takes to know: what comes behind the question
// changes nothing, and a story is broken off once its facts are too many or have too many tokens. A sample's tokens may
// still be too many, with its question or where a story is too short to break off. `task` is a number, 1 ... 20.
std::optional<BabiSample> simulate_sample(int task, RandomStream& story, RandomStream& question,
                                          const SampleLimits& limits, const FactTokens& fact_tokens);

// The first `num_stories` stories: what `wavetape data babi` writes.
std::vector<BabiStory> simulate_stories(std::string_view task, std::uint64_t seed, std::uint64_t num_stories,
                                        Split split = Split::kTrain);

}  // namespace wt
