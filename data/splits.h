// Which part of the data a sample is for. Every split draws from random streams of its own, so that no training sample
// depends on, or comes back in, an evaluation.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/random.h"

namespace wt {

enum class Split : std::uint8_t { kTrain = 0, kValidation = 1, kTest = 2 };

constexpr std::string_view name_of(Split split) {
  return split == Split::kTrain ? "train" : split == Split::kValidation ? "validation" : "test";
}

// What a data stream decides. New purposes go at the end: their numbers are part of every seed's meaning.
enum class DataPurpose : std::uint8_t { kStory = 0, kSample = 1, kOrder = 2 };

// The stream of the index-th item (index < 2^46): 2 bits of split, 3 of purpose, 5 of task (bAbI 0 ... 20, associative
// retrieval 21), 46 of index.
RandomStream data_stream(std::uint64_t seed, DataPurpose purpose, Split split, int task, std::uint64_t index);

}  // namespace wt
