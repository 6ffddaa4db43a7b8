#include "data/eval_set.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "core/utf8.h"
#include "data/hdf5_file.h"

namespace wt {
namespace {

constexpr const char* kFormat = "wavetape evaluation set";
constexpr std::int64_t kVersion = 1;
// Of the published sets: tokens left for question and prompt, and the tokens that stand for a line of the story.
constexpr std::int64_t kReleasedPromptTokens = 300, kReleasedLineTokens = 8;
constexpr std::int64_t kTokensAtOnce = std::int64_t{1} << 18;  // that are read of an HDF5 set

std::string json_of(const EvalSample& sample) {
  nlohmann::ordered_json object;
  object["input"] = utf8_repaired(sample.input);
  object["question"] = utf8_repaired(sample.question);
  object["target"] = utf8_repaired(sample.target);
  return object.dump();
}

// A list that is written one element at a time.
class JsonListWriter {
 public:
  explicit JsonListWriter(const std::string& path) : file_(path) {}
  void add(const EvalSample& sample) {
    file_.write(cat(first_ ? "[\n" : ",\n", json_of(sample)));
    first_ = false;
  }
  void commit() {
    file_.write(first_ ? "[]\n" : "\n]\n");
    file_.commit();
  }

 private:
  AtomicFile file_;
  bool first_ = true;
};

bool is_hdf5(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) throw Error(cat(path, ": is a folder, expected an evaluation set"));
  std::ifstream in(path, std::ios::binary);
  if (!in) throw Error(cat(path, ": cannot be opened"));
  char start[8] = {};
  in.read(start, sizeof start);
  return in.gcount() == sizeof start && std::string_view(start, sizeof start) == "\x89HDF\r\n\x1a\n";
}

// The settings of a published set.
BabilongConfig released_config(BabilongConfig babilong, const std::string& length_name) {
  if (babilong.stories.babi == "simulate") {
    throw UsageError("a released set is made of bAbI's own files: name their folder (--babi DIR), not simulate");
  }
  babilong.held_out_books = 0;
  babilong.background_rule = BackgroundRule::kBooks;
  babilong.task_start_pct = 0;
  babilong.task_end_pct = 1;
  babilong.min_n_facts = 0;
  babilong.max_n_facts = 0;
  babilong.size_rule = SizeRule::kContext;
  const std::int64_t length = parse_length(length_name);
  babilong.sample_sizes = {0};
  if (length == 0) return babilong;
  // The published limit counts the question's line as well.
  const std::int64_t lines = (length - kReleasedPromptTokens) / kReleasedLineTokens;
  if (lines < 2) {
    throw UsageError(cat("length `", length_name, "`: a released set needs at least ",
                         kReleasedPromptTokens + 2 * kReleasedLineTokens, " tokens, ", kReleasedPromptTokens,
                         " of them for the prompt"));
  }
  babilong.sample_sizes = {length - kReleasedPromptTokens};
  babilong.max_n_facts = static_cast<int>(lines) - 1;
  return babilong;
}

// How many samples the published set has: see EvalSetConfig::released.
std::int64_t released_size(const BabilongSampler& sampler, std::int64_t length) {
  const int task = babi_task_number(sampler.config().stories.task);
  const bool complete = task == 1 || (task == 2 && length == 1000) || (task >= 6 && task <= 10);
  return static_cast<std::int64_t>(sampler.size()) - (complete ? 0 : 1);
}

class Hdf5SetWriter {
 public:
  Hdf5SetWriter(const std::string& path, const EvalSetConfig& config, const Tokenizer& tokenizer) : file_(path) {
    file_.attribute("format", kFormat);
    file_.attribute("version", kVersion);
    file_.attribute("tokenizer", tokenizer.fingerprint());
    file_.attribute("vocab_size", static_cast<std::int64_t>(tokenizer.vocab_size()));
    file_.attribute("task", config.babilong.stories.task);
    file_.attribute("length", config.length);
    add_offset();
  }
  void add(const BabilongSample& sample) {
    file_.append<std::int32_t>("tokens", std::span(sample.tokens).first(static_cast<std::size_t>(sample.prompt_size)));
    num_tokens_ += sample.prompt_size;
    add_offset();
    questions_.push_back(sample.question);
    targets_.push_back(sample.answer);
  }
  void commit() {
    file_.texts("questions", questions_);
    file_.texts("targets", targets_);
    file_.commit();
  }

 private:
  void add_offset() { file_.append<std::int64_t>("prompt_offsets", std::span<const std::int64_t>(&num_tokens_, 1)); }
  Hdf5Writer file_;
  std::int64_t num_tokens_ = 0;
  std::vector<std::string> questions_, targets_;
};

}  // namespace

std::int64_t parse_length(std::string_view length) {
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), value);
  const std::string_view unit(end, static_cast<std::size_t>(length.data() + length.size() - end));
  const std::int64_t factor = unit.empty() ? 1 : unit == "k" ? 1000 : unit == "M" ? 1000000 : 0;
  if (error != std::errc() || factor == 0 || value < 0 || value > 1000000000 / factor) {
    throw UsageError(cat("length `", length, "`, expected a number of tokens up to 1000M, like 4k, 1M or 512"));
  }
  return value * factor;
}

BabilongSampler eval_sampler(const EvalSetConfig& config, const Tokenizer& tokenizer,
                             std::shared_ptr<const BookText> books, std::uint64_t seed) {
  BabilongConfig babilong = config.babilong;
  if (config.released) {
    babilong = released_config(babilong, config.length);
  } else {
    babilong.sample_sizes = {parse_length(config.length)};
    babilong.size_rule = SizeRule::kTotal;
  }
  babilong.mixed_length_ratio = 0;
  babilong.no_background_rate = 0;
  babilong.inline_question_rate = 0;
  babilong.ask_everyone = false;
  try {
    return BabilongSampler(babilong, tokenizer, std::move(books), seed, config.split);
  } catch (const UnfitStories& e) {
    throw UsageError(cat("length ", config.length, ": ", e.what()));
  }
}

std::int64_t build_eval_set(const EvalSetConfig& config, const Tokenizer& tokenizer,
                            std::shared_ptr<const BookText> books, std::uint64_t seed, const std::string& output,
                            const std::function<void(std::int64_t done, std::int64_t total)>& progress) {
  std::int64_t count = config.num_samples;
  if (count < (config.released ? 0 : 1)) throw UsageError(cat("an evaluation set of ", count, " samples"));
  const BabilongSampler sampler = eval_sampler(config, tokenizer, std::move(books), seed);
  if (config.released) {
    const std::int64_t size = released_size(sampler, parse_length(config.length));
    if (count > size || size < 1) {
      throw UsageError(cat(count, " samples of ", config.babilong.stories.task, " at ", config.length,
                           ": the released set has ", size));
    }
    if (count == 0) count = size;
  }
  const auto for_each = [&](const auto& add) {
    for (std::int64_t i = 0; i < count; ++i) {
      add(sampler.sample(static_cast<std::uint64_t>(i)));
      if (progress) progress(i + 1, count);
    }
  };
  if (output.ends_with(".h5") || output.ends_with(".hdf5")) {
    Hdf5SetWriter writer(output, config, tokenizer);
    for_each([&](const BabilongSample& sample) { writer.add(sample); });
    writer.commit();
    return count;
  }
  JsonListWriter writer(output);
  for_each([&](const BabilongSample& sample) {
    std::string input = tokenizer.decode(std::span(sample.tokens).first(static_cast<std::size_t>(sample.context_size)));
    if (config.released) {
      input = std::string(trimmed(input));
    } else if (input.starts_with(' ')) {
      input.erase(0, 1);
    }
    writer.add({std::move(input), sample.question, sample.answer, {}});
  });
  writer.commit();
  return count;
}

void write_eval_json(const std::string& path, std::span<const EvalSample> samples) {
  JsonListWriter writer(path);
  for (const EvalSample& sample : samples) writer.add(sample);
  writer.commit();
}

EvalSet::EvalSet(const std::string& path, const Tokenizer& tokenizer, std::int64_t limit)
    : path_(path), vocab_size_(tokenizer.vocab_size()) {
  if (!is_hdf5(path)) {
    entries_ = index_eval_json(path, limit);
    return;
  }
  hdf5_ = std::make_shared<const Hdf5Reader>(path, kFormat, kVersion);
  if (hdf5_->text_attribute("tokenizer") != tokenizer.fingerprint()) {
    throw Error(cat(path, ": made with another tokenizer (", hdf5_->text_attribute("tokenizer"),
                    ") than the one in use (", tokenizer.fingerprint(), ")"));
  }
  const std::int64_t num_tokens = hdf5_->size("tokens");
  const auto offsets = hdf5_->read<std::int64_t>("prompt_offsets");
  const std::vector<std::string> questions = hdf5_->texts("questions"), targets = hdf5_->texts("targets");
  if (targets.empty() || questions.size() != targets.size() || offsets.size() != targets.size() + 1) {
    throw Error(cat(path, ": ", targets.size(), " targets, ", questions.size(), " questions and ", offsets.size(),
                    " prompt_offsets: the file is damaged"));
  }
  for (std::size_t i = 0; i < targets.size() && (limit == 0 || static_cast<std::int64_t>(i) < limit); ++i) {
    if (offsets[i] < 0 || offsets[i + 1] <= offsets[i] || offsets[i + 1] > num_tokens || trimmed(targets[i]).empty()) {
      throw Error(cat(path, ": sample ", i, ": prompt ", offsets[i], " ... ", offsets[i + 1], " of ", num_tokens,
                      " tokens, target `", targets[i], "`: the file is damaged"));
    }
    entries_.push_back({questions[i], targets[i], offsets[i], offsets[i + 1] - offsets[i]});
    const TokenPieces ids = prompt(static_cast<std::int64_t>(i));
    while (!ids().empty()) continue;  // checks them
  }
}

std::int64_t EvalSet::bytes(std::int64_t i) const {
  return entry(i).input_bytes * (has_tokens() ? static_cast<std::int64_t>(sizeof(std::int32_t)) : 1);
}

TextPieces EvalSet::input(std::int64_t i) const {
  WT_CHECK(!has_tokens(), path_, ": holds tokens, no text");
  return eval_json_input(path_, entry(i), i);
}

TokenPieces EvalSet::prompt(std::int64_t i) const {
  WT_CHECK(has_tokens(), path_, ": holds text, no tokens");
  const auto place = std::make_shared<std::int64_t>(entry(i).input_begin);
  const std::int64_t end = *place + entry(i).input_bytes;
  return [file = hdf5_, place, end, i, vocab_size = vocab_size_] {
    const std::int64_t count = std::min(end - *place, kTokensAtOnce);
    const auto ids = file->read<std::int32_t>("tokens", *place, count);
    for (const std::int32_t id : ids) {
      if (id < 0 || id >= vocab_size) {
        throw Error(cat(file->path(), ": sample ", i, ": token ", id, ", expected below ", vocab_size));
      }
    }
    *place += count;
    return ids;
  };
}

EvalSample EvalSet::sample(std::int64_t i) const {
  if (!has_tokens()) return {whole(input(i)), question(i), target(i), {}};
  return {{}, question(i), target(i), whole(prompt(i))};
}

std::vector<EvalSample> read_eval_set(const std::string& path, const Tokenizer& tokenizer) {
  const EvalSet set(path, tokenizer);
  std::vector<EvalSample> samples;
  for (std::int64_t i = 0; i < set.size(); ++i) samples.push_back(set.sample(i));
  return samples;
}

namespace {

StoryEncoder story_encoder(const Tokenizer& tokenizer, const BabilongConfig& config) {
  return {tokenizer, config.question_style, find_separator(tokenizer, config.separator_token),
          config.end_id >= 0 ? config.end_id : find_end_token(tokenizer)};
}

// With the separator.
std::vector<std::int32_t> question_tokens(const StoryEncoder& encoder, const std::string& text,
                                          const std::string& target) {
  EncodedQuestion question = encoder.question(text, target);
  question.tokens.resize(static_cast<std::size_t>(question.prompt_size));
  return std::move(question.tokens);
}

}  // namespace

std::vector<std::int32_t> prompt_tokens(const EvalSample& sample, const Tokenizer& tokenizer,
                                        const BabilongConfig& config) {
  if (!sample.prompt.empty()) return sample.prompt;
  const StoryEncoder encoder = story_encoder(tokenizer, config);
  std::vector<std::int32_t> tokens = encoder.fact(sample.input);
  const std::vector<std::int32_t> question = question_tokens(encoder, sample.question, sample.target);
  tokens.insert(tokens.end(), question.begin(), question.end());
  return tokens;
}

TokenPieces prompt_pieces(const EvalSet& set, std::int64_t i, const Tokenizer& tokenizer,
                          const BabilongConfig& config) {
  if (set.has_tokens()) return set.prompt(i);
  const std::vector<std::int32_t> question =
      question_tokens(story_encoder(tokenizer, config), set.question(i), set.target(i));
  // The context is what StoryEncoder::fact() makes of it.
  const TextPieces context = joined<std::string>({once<std::string>(" "), set.input(i)});
  return joined<std::vector<std::int32_t>>({encoded_plain(tokenizer, context), once(question)});
}

}  // namespace wt
