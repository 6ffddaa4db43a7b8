#include "data/story_source.h"

#include <filesystem>
#include <map>
#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

#include "core/error.h"
#include "data/babi/simulator.h"

namespace wt {
namespace {

constexpr int kAttemptBits = 10;  // tries for one simulated sample
constexpr std::uint64_t kMaxIndex = std::uint64_t{1} << 36;

class SimulatedStories final : public StorySource {
 public:
  SimulatedStories(const StoryOptions& options, std::uint64_t seed, Split split, StoryFilter is_wanted)
      : task_(options.task),
        number_(babi_task_number(options.task)),
        seed_(seed),
        split_(split),
        is_wanted_(std::move(is_wanted)) {}
  std::uint64_t size() const override { return 0; }
  BabiSample sample(std::uint64_t index) const override {
    WT_CHECK(index < kMaxIndex, "sample ", index, ", expected below 2^36");
    for (std::uint64_t attempt = 0; attempt < (1u << kAttemptBits); ++attempt) {
      const std::uint64_t number = (index << kAttemptBits) | attempt;
      const BabiStory story = simulate_story(task_, seed_, number, split_);
      RandomStream random = data_stream(seed_, DataPurpose::kOrder, split_, number_, number);
      BabiSample sample =
          babi_sample(story, static_cast<int>(random.below(static_cast<std::uint64_t>(story.num_questions()))));
      if (is_wanted_(sample)) return sample;
    }
    throw Error(cat("none of ", 1 << kAttemptBits, " simulated ", task_,
                    " samples fits: raise the sample size or max_n_facts, or lower min_n_facts"));
  }

 private:
  std::string task_;
  int number_;
  std::uint64_t seed_;
  Split split_;
  StoryFilter is_wanted_;
};

using Samples = std::vector<BabiSample>;

Samples read_samples(const std::string& path, Split split, double validation_share) {
  std::vector<BabiStory> stories = read_babi(path);
  const auto held_out = static_cast<std::ptrdiff_t>(static_cast<double>(stories.size()) * validation_share);
  const auto boundary = stories.end() - held_out;
  if (split == Split::kTrain) stories.erase(boundary, stories.end());
  if (split == Split::kValidation) stories.erase(stories.begin(), boundary);
  return babi_samples(stories);
}

// A run opens a file for every stage, number of segments and split; the samples are held once, as long as any of them
// is there.
std::shared_ptr<const Samples> shared_samples(const std::string& path, Split split, double validation_share) {
  namespace fs = std::filesystem;
  using Key = std::tuple<std::string, fs::file_time_type, std::uintmax_t, Split, double>;
  static std::mutex mutex;
  static std::map<Key, std::weak_ptr<const Samples>> held;
  const std::lock_guard lock(mutex);
  std::erase_if(held, [](const auto& entry) { return entry.second.expired(); });
  std::error_code error;  // a file that is not there is read_babi's to complain about
  const Key key{path, fs::last_write_time(path, error), fs::file_size(path, error), split, validation_share};
  std::weak_ptr<const Samples>& entry = held[key];
  std::shared_ptr<const Samples> samples = entry.lock();
  if (samples == nullptr) {
    samples = std::make_shared<const Samples>(read_samples(path, split, validation_share));
    entry = samples;
  }
  return samples;
}

class FileStories final : public StorySource {
 public:
  FileStories(const StoryOptions& options, std::uint64_t seed, Split split, const StoryFilter& is_wanted)
      : seed_(seed), split_(split) {
    const std::string path = find_babi_file(options.babi, options.task, split == Split::kTest ? "test" : "train");
    // All of the test file is for testing.
    samples_ = shared_samples(path, split, split == Split::kTest ? 0 : options.validation_share);
    for (std::size_t i = 0; i < samples_->size(); ++i) {
      if (is_wanted((*samples_)[i])) wanted_.push_back(i);
    }
    if (wanted_.empty()) {
      throw Error(cat(path, ": none of ", samples_->size(), " ", name_of(split),
                      " samples fits: raise the sample size, max_n_facts or validation_share, or lower min_n_facts"));
    }
  }
  std::uint64_t size() const override { return wanted_.size(); }
  BabiSample sample(std::uint64_t index) const override {
    const std::uint64_t epoch = index / size(), rest = index % size();
    const std::uint64_t at = split_ == Split::kTest ? rest : permuted(seed_, epoch, rest, size());
    return (*samples_)[wanted_[static_cast<std::size_t>(at)]];
  }

 private:
  std::uint64_t seed_;
  Split split_;
  std::shared_ptr<const Samples> samples_;
  std::vector<std::size_t> wanted_;  // indices into samples_
};

}  // namespace

std::shared_ptr<const StorySource> open_stories(const StoryOptions& options, std::uint64_t seed, Split split,
                                                StoryFilter is_wanted) {
  if (!(options.validation_share >= 0 && options.validation_share < 1)) {
    throw UsageError(cat("validation_share is ", options.validation_share, ", expected 0 up to, but not, 1"));
  }
  if (options.babi == "simulate") {
    return std::make_shared<const SimulatedStories>(options, seed, split, std::move(is_wanted));
  }
  return std::make_shared<const FileStories>(options, seed, split, is_wanted);
}

std::uint64_t permuted(std::uint64_t seed, std::uint64_t number, std::uint64_t index, std::uint64_t size) {
  WT_CHECK(index < size, "permutation of ", size, " elements: index ", index);
  // Halves of at least 4 bits; the domain is less than 4 times size then (or 256), so the walk is short.
  int half_bits = 4;
  while (half_bits < 32 && (std::uint64_t{1} << (2 * half_bits)) < size) ++half_bits;
  const std::uint64_t mask = (std::uint64_t{1} << half_bits) - 1;
  const std::uint64_t stream = random_stream(RandomPurpose::kData, (std::uint64_t{3} << 54) | number);
  std::uint64_t value = index;
  do {
    std::uint64_t left = value >> half_bits, right = value & mask;
    for (std::uint64_t round = 0; round < 6; ++round) {
      const PhiloxBlock block = philox(seed, stream, (round << 32) | right);
      left = std::exchange(right, left ^ (block.word[0] & mask));
    }
    value = (left << half_bits) | right;
  } while (value >= size);
  return value;
}

}  // namespace wt
