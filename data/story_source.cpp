#include "data/story_source.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/error.h"
#include "data/babi/simulator.h"

namespace wt {
namespace {

constexpr std::uint64_t kMaxIndex = std::uint64_t{1} << 36;

// What the samples seen so far are like, for the message where they are not as wanted.
struct Extent {
  std::int64_t least = std::numeric_limits<std::int64_t>::max(), most = 0;
  void add(std::int64_t value) {
    least = std::min(least, value);
    most = std::max(most, value);
  }
  std::string str() const { return least >= most ? cat(most) : cat(least, " to ", most); }
};

std::string wanted_range(std::int64_t least, std::int64_t most) {
  return most == 0       ? cat("at least ", least)
         : least == most ? cat(most)
         : least == 0    ? cat("at most ", most)
                         : cat(least, " to ", most);
}

// `fits`: "none of 100 train samples fits"; then what is wanted, and what there is instead.
[[noreturn]] void fail_unfit(const std::string& fits, const SampleLimits& limits, const Extent& facts,
                             const Extent& tokens) {
  std::string wanted, found;
  if (limits.min_facts > 0 || limits.max_facts > 0) {
    wanted = cat(wanted_range(limits.min_facts, limits.max_facts), limits.max_facts == 1 ? " fact" : " facts");
    found = cat(facts, " facts");
  }
  if (limits.max_tokens > 0) {
    wanted += cat(wanted.empty() ? "" : " and ", "at most ", limits.max_tokens, " tokens");
    found += cat(found.empty() ? "" : " and ", tokens, " tokens");
  }
  throw UnfitStories(cat(fits, ": ", wanted, " are asked for, they have ", found));
}

class SimulatedStories final : public StorySource {
 public:
  SimulatedStories(const StoryOptions& options, std::uint64_t seed, Split split, const SampleLimits& limits,
                   const StoryEncoder& encoder)
      : task_(babi_task_number(options.task)),
        seed_(seed),
        split_(split),
        limits_(limits),
        encoder_(encoder),
        fact_tokens_(
            [encoder](const std::string& fact) { return static_cast<std::int64_t>(encoder.fact(fact).size()); }) {
    estimate(options.task);
  }
  std::uint64_t size() const override { return 0; }
  double accepted_share() const override { return accepted_share_; }
  BabiSample sample(std::uint64_t index) const override {
    WT_CHECK(index < kMaxIndex, "sample ", index, ", expected below 2^36");
    for (std::uint64_t stream = 0;; ++stream) {
      RandomStream story = random_for(DataPurpose::kStory, index, stream);
      RandomStream question = random_for(DataPurpose::kOrder, index, stream);
      // The last of the sample's streams goes on for as many stories as it takes.
      do {
        if (std::optional<BabiSample> sample = try_sample(story, question, limits_)) return *std::move(sample);
      } while (stream + 1 == kStreams);
    }
  }

  void for_each_fact(const std::function<void(const std::string&)>&) const override {}

 private:
  static constexpr std::uint64_t kStreams = 1024;  // of one sample
  // The estimate goes on until it has so many that fit, or has tried so many.
  static constexpr int kEnough = 16, kTrials = 1 << 17;

  RandomStream random_for(DataPurpose purpose, std::uint64_t index, std::uint64_t stream) const {
    return data_stream(seed_, purpose, split_, task_, index * kStreams + stream);
  }
  std::optional<BabiSample> try_sample(RandomStream& story, RandomStream& question, const SampleLimits& limits) const {
    std::optional<BabiSample> sample = simulate_sample(task_, story, question, limits, fact_tokens_);
    if (sample && limits.max_tokens > 0 && encoder_.size(*sample) > limits.max_tokens) return std::nullopt;
    return sample;
  }
  // Of the first stories of the first samples.
  void estimate(const std::string& task) {
    const auto draw = [&](int index, const SampleLimits& limits) {
      const auto number = static_cast<std::uint64_t>(index);
      RandomStream story = random_for(DataPurpose::kStory, number, 0),
                   question = random_for(DataPurpose::kOrder, number, 0);
      return try_sample(story, question, limits);
    };
    int fit = 0, trials = 0;
    while (trials < kTrials && fit < kEnough) fit += draw(trials++, limits_).has_value() ? 1 : 0;
    accepted_share_ = static_cast<double>(fit) / trials;
    if (fit == kEnough) return;
    Extent facts, tokens;
    for (int i = 0; i < 1000; ++i) {
      const BabiSample sample = *draw(i, {});
      facts.add(static_cast<std::int64_t>(sample.facts.size()));
      tokens.add(encoder_.size(sample));
    }
    fail_unfit(cat(fit == 0 ? "none" : cat("only ", fit), " of ", trials, " simulated ", task, " samples fit",
                   fit == 0 ? "s" : ""),
               limits_, facts, tokens);
  }

  int task_;
  std::uint64_t seed_;
  Split split_;
  SampleLimits limits_;
  StoryEncoder encoder_;
  FactTokens fact_tokens_;
  double accepted_share_ = 1;
};

// The stories of one split of a file, which every sampler of a run shares, and so the tokens of their lines.
class FileText {
 public:
  FileText(const std::string& path, Split split, double validation_share) : stories_(read_babi(path)) {
    const auto held_out = static_cast<std::ptrdiff_t>(static_cast<double>(stories_.size()) * validation_share);
    const auto boundary = stories_.end() - held_out;
    if (split == Split::kTrain) stories_.erase(boundary, stories_.end());
    if (split == Split::kValidation) stories_.erase(stories_.begin(), boundary);
  }
  const std::vector<BabiStory>& stories() const { return stories_; }

  // Tokens of all lines of all stories, in order: of a fact, or of a question with its answer.
  std::shared_ptr<const std::vector<std::int32_t>> line_tokens(const StoryEncoder& encoder) const {
    const std::lock_guard lock(mutex_);
    auto& held = line_tokens_[encoder.fingerprint()];
    if (held == nullptr) {
      auto counts = std::make_shared<std::vector<std::int32_t>>();
      std::unordered_map<std::string_view, std::int32_t> of_fact;  // facts come again and again
      for (const BabiStory& story : stories_) {
        for (const BabiLine& line : story.lines) {
          if (line.is_question()) {
            counts->push_back(tokens_of(encoder.question(line.text, line.answer).tokens));
            continue;
          }
          const auto [known, is_new] = of_fact.try_emplace(line.text, 0);
          if (is_new) known->second = tokens_of(encoder.fact(line.text));
          counts->push_back(known->second);
        }
      }
      held = std::move(counts);
    }
    return held;
  }

 private:
  static std::int32_t tokens_of(const std::vector<std::int32_t>& tokens) {
    return static_cast<std::int32_t>(tokens.size());
  }
  std::vector<BabiStory> stories_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::shared_ptr<const std::vector<std::int32_t>>> line_tokens_;  // by encoder
};

// A run opens a file for every stage, number of segments and split; its text is held once, as long as any of them is
// there.
std::shared_ptr<const FileText> shared_text(const std::string& path, Split split, double validation_share) {
  namespace fs = std::filesystem;
  using Key = std::tuple<std::string, fs::file_time_type, std::uintmax_t, Split, double>;
  static std::mutex mutex;
  static std::map<Key, std::weak_ptr<const FileText>> held;
  const std::lock_guard lock(mutex);
  std::erase_if(held, [](const auto& entry) { return entry.second.expired(); });
  std::error_code error;  // a file that is not there is read_babi's to complain about
  const Key key{path, fs::last_write_time(path, error), fs::file_size(path, error), split, validation_share};
  std::weak_ptr<const FileText>& entry = held[key];
  std::shared_ptr<const FileText> text = entry.lock();
  if (text == nullptr) {
    text = std::make_shared<const FileText>(path, split, validation_share);
    entry = text;
  }
  return text;
}

class FileStories final : public StorySource {
 public:
  FileStories(const StoryOptions& options, std::uint64_t seed, Split split, const SampleLimits& limits,
              const StoryEncoder& encoder)
      : seed_(seed), split_(split) {
    const std::string path = find_babi_file(options.babi, options.task, split == Split::kTest ? "test" : "train");
    // All of the test file is for testing.
    text_ = shared_text(path, split, split == Split::kTest ? 0 : options.validation_share);
    choose(limits, encoder, path);
  }
  std::uint64_t size() const override { return wanted_.size(); }
  double accepted_share() const override {
    return static_cast<double>(wanted_.size()) / static_cast<double>(num_questions_);
  }
  BabiSample sample(std::uint64_t index) const override {
    WT_CHECK(index < kMaxIndex, "sample ", index, ", expected below 2^36");
    const std::uint64_t epoch = index / size(), rest = index % size();
    const std::uint64_t at = split_ == Split::kTest ? rest : permuted(seed_, epoch, rest, size());
    const Place& place = wanted_[static_cast<std::size_t>(at)];
    return babi_sample(text_->stories()[place.story], static_cast<int>(place.question));
  }

  void for_each_fact(const std::function<void(const std::string&)>& visit) const override {
    for (std::size_t i = 0; i < wanted_.size(); ++i) {
      // A story's last sample has the facts of those before it.
      if (i + 1 < wanted_.size() && wanted_[i + 1].story == wanted_[i].story) continue;
      std::uint32_t question = 0;
      for (const BabiLine& line : text_->stories()[wanted_[i].story].lines) {
        if (!line.is_question()) {
          visit(line.text);
        } else if (question++ == wanted_[i].question) {
          break;
        }
      }
    }
  }

 private:
  struct Place {
    std::uint32_t story = 0, question = 0;
  };
  // The questions whose samples keep to the limits.
  void choose(const SampleLimits& limits, const StoryEncoder& encoder, const std::string& path) {
    const bool counts_tokens = limits.max_tokens > 0;
    const auto line_tokens = counts_tokens ? text_->line_tokens(encoder) : nullptr;
    Extent all_facts, all_tokens;
    std::size_t line_number = 0;
    for (std::uint32_t story = 0; story < text_->stories().size(); ++story) {
      std::int64_t facts = 0, tokens = 0;
      std::uint32_t question = 0;
      for (const BabiLine& line : text_->stories()[story].lines) {
        const std::int64_t length = counts_tokens ? (*line_tokens)[line_number++] : 0;
        if (!line.is_question()) {
          ++facts;
          tokens += length;
          continue;
        }
        if (limits.allow(facts, tokens + length)) wanted_.push_back({story, question});
        all_facts.add(facts);
        all_tokens.add(tokens + length);
        ++question;
        ++num_questions_;
      }
    }
    if (!wanted_.empty()) return;
    const std::string what = cat(path, ": none of ", num_questions_, " ", name_of(split_), " samples fits");
    if (num_questions_ == 0) throw UnfitStories(cat(what, ": this part of the file has no story"));
    fail_unfit(what, limits, all_facts, all_tokens);
  }

  std::uint64_t seed_;
  Split split_;
  std::shared_ptr<const FileText> text_;
  std::vector<Place> wanted_;
  std::uint64_t num_questions_ = 0;
};

}  // namespace

std::shared_ptr<const StorySource> open_stories(const StoryOptions& options, std::uint64_t seed, Split split,
                                                const SampleLimits& limits, const StoryEncoder& encoder) {
  if (!(options.validation_share >= 0 && options.validation_share < 1)) {
    throw UsageError(cat("validation_share is ", options.validation_share, ", expected 0 up to, but not, 1"));
  }
  if (options.babi == "simulate") {
    return std::make_shared<const SimulatedStories>(options, seed, split, limits, encoder);
  }
  return std::make_shared<const FileStories>(options, seed, split, limits, encoder);
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
