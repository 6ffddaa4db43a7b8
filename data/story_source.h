// Where a sampler's stories come from: the simulator, or bAbI's files. Sample `index` is a pure function of the source.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/error.h"
#include "data/babi/stories.h"
#include "data/splits.h"
#include "data/story_encoder.h"

namespace wt {

class StorySource {
 public:
  virtual ~StorySource() = default;
  // How many different samples there are; 0: without end.
  virtual std::uint64_t size() const = 0;
  // The share of all samples that keeps to the limits: counted in files, estimated where stories are simulated.
  virtual double accepted_share() const = 0;
  // The index-th sample, index < 2^36. Safe from several threads.
  virtual BabiSample sample(std::uint64_t index) const = 0;
  // Files: every fact that is in a sample, for those who must read them all. Nothing where stories are simulated.
  virtual void for_each_fact(const std::function<void(const std::string& fact)>& visit) const = 0;
};

struct StoryOptions {
  std::string task = "qa1";
  // "simulate", or a folder with bAbI's files.
  std::string babi = "simulate";
  // Files: the share of the train file's stories, taken from its end, that make the validation split.
  double validation_share = 0.1;
};

// No sample keeps to the limits, or so few that drawing them takes too long; says what samples are like.
class UnfitStories : public UsageError {
 public:
  using UsageError::UsageError;
};

// Simulated stories have no end; each gives one sample, at one of its questions, drawn evenly. One that breaks the
// limits is replaced by another story, however long that takes: so samples are as those of all stories that keep to
// them. Files: every question of every story is a sample. Train and validation come in an order of their own each epoch
// (a permutation drawn from seed and epoch), test in the file's order, over and over. `encoder` counts the tokens.
// Throws UsageError for settings that cannot be, and UnfitStories where no sample of a file, or less than about one in
// ten thousand simulated ones, keeps to the limits.
std::shared_ptr<const StorySource> open_stories(const StoryOptions& options, std::uint64_t seed, Split split,
                                                const SampleLimits& limits, const StoryEncoder& encoder);

// A permutation of 0 ... size-1, computed one element at a time: where `index` goes under the permutation numbered
// `number`. (A Feistel network over Philox, walked until it lands below size.)
std::uint64_t permuted(std::uint64_t seed, std::uint64_t number, std::uint64_t index, std::uint64_t size);

}  // namespace wt
