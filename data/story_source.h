// Where a sampler's stories come from: the simulator, or bAbI's files. Sample `index` is a pure function of the source.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "data/babi/stories.h"
#include "data/splits.h"

namespace wt {

class StorySource {
 public:
  virtual ~StorySource() = default;
  // How many different samples there are; 0: without end.
  virtual std::uint64_t size() const = 0;
  // The index-th sample, index < 2^36. Safe from several threads.
  virtual BabiSample sample(std::uint64_t index) const = 0;
};

struct StoryOptions {
  std::string task = "qa1";
  // "simulate", or a folder with bAbI's files.
  std::string babi = "simulate";
  // Files: the share of the train file's stories, taken from its end, that make the validation split.
  double validation_share = 0.1;
};

// Which samples are wanted; must be a pure function.
using StoryFilter = std::function<bool(const BabiSample&)>;

// Simulated stories have no end; each gives one sample, at one of its questions, drawn evenly. One that is not wanted
// is replaced by another story; after a thousand such in a row sample() throws Error. Files: every question of every
// story is a sample. Train and validation come in an order of their own each epoch (a permutation drawn from seed and
// epoch), test in the file's order, over and over. Throws UsageError for settings that cannot be, and Error where no
// sample of a file is wanted.
std::shared_ptr<const StorySource> open_stories(const StoryOptions& options, std::uint64_t seed, Split split,
                                                StoryFilter is_wanted);

// A permutation of 0 ... size-1, computed one element at a time: where `index` goes under the permutation numbered
// `number`. (A Feistel network over Philox, walked until it lands below size.)
std::uint64_t permuted(std::uint64_t seed, std::uint64_t number, std::uint64_t index, std::uint64_t size);

}  // namespace wt
