#include "data/eval_set.h"

#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "data/hdf5_file.h"
#include "data/utf8.h"

namespace wt {
namespace {

constexpr const char* kFormat = "wavetape evaluation set";
constexpr std::int64_t kVersion = 1;
// Of the published sets: tokens left for question and prompt, and the tokens that stand for a line of the story.
constexpr std::int64_t kReleasedPromptTokens = 300, kReleasedLineTokens = 8;

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

// Takes the events of a JSON parser: a list of flat objects with three texts, and nothing else.
class EvalListHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  using Visit = std::function<bool(std::int64_t, EvalSample&&)>;
  EvalListHandler(const std::string& path, const Visit& visit) : path_(path), visit_(visit) {}

  std::int64_t num_samples() const { return index_; }

  bool start_array(std::size_t) override {
    if (where_ != Where::kOutside) return unexpected("a list");
    where_ = Where::kList;
    return true;
  }
  bool end_array() override {
    where_ = Where::kOutside;
    return true;
  }
  bool start_object(std::size_t) override {
    if (where_ != Where::kList) return unexpected("an object");
    where_ = Where::kObject;
    sample_ = {};
    seen_ = {false, false, false};
    return true;
  }
  bool key(string_t& key) override {
    for (std::size_t i = 0; i < kKeys.size(); ++i) {
      if (key != kKeys[i]) continue;
      if (seen_[i]) fail(cat("\"", key, "\" stands there twice"));
      seen_[i] = true;
      key_ = i;
      return true;
    }
    fail(cat("unknown key \"", key, "\", expected \"input\", \"question\" and \"target\""));
  }
  bool string(string_t& text) override {
    if (where_ != Where::kObject) return unexpected("a text");
    (key_ == 0 ? sample_.input : key_ == 1 ? sample_.question : sample_.target) = std::move(text);
    return true;
  }
  bool end_object() override {
    for (std::size_t i = 0; i < kKeys.size(); ++i) {
      if (!seen_[i]) fail(cat("no key \"", kKeys[i], "\""));
    }
    if (sample_.target.empty()) fail("\"target\" is empty");
    where_ = Where::kList;
    return visit_(index_++, std::move(sample_));
  }
  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("true or false"); }
  bool number_integer(number_integer_t) override { return unexpected("a number"); }
  bool number_unsigned(number_unsigned_t) override { return unexpected("a number"); }
  bool number_float(number_float_t, const string_t&) override { return unexpected("a number"); }
  bool binary(binary_t&) override { return unexpected("bytes"); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    throw Error(cat(path_, ": not valid JSON near byte ", position, " (sample ", index_, ")"));
  }

 private:
  enum class Where { kOutside, kList, kObject };
  static constexpr std::array<const char*, 3> kKeys{"input", "question", "target"};

  [[noreturn]] void fail(const std::string& what) const { throw Error(cat(path_, ": sample ", index_, ": ", what)); }
  bool unexpected(const char* what) const {
    if (where_ == Where::kOutside) {
      throw Error(cat(path_, ": starts with ", what, ", expected a list of {\"input\", \"question\", \"target\"}"));
    }
    if (where_ == Where::kList) fail(cat("is ", what, ", expected an object"));
    fail(cat("\"", kKeys[key_], "\" is ", what, ", expected a text"));
  }

  const std::string& path_;
  const Visit& visit_;
  Where where_ = Where::kOutside;
  std::int64_t index_ = 0;
  std::size_t key_ = 0;
  std::array<bool, 3> seen_{};
  EvalSample sample_;
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

void read_json(const std::string& path, const EvalListHandler::Visit& visit) {
  std::ifstream in(path, std::ios::binary);
  EvalListHandler handler(path, visit);
  nlohmann::json::sax_parse(in, &handler);
  if (in.bad()) throw Error(cat(path, ": cannot be read"));
  if (handler.num_samples() == 0) throw Error(cat(path, ": the list is empty, expected at least one sample"));
}

void read_hdf5(const std::string& path, const Tokenizer& tokenizer, const EvalListHandler::Visit& visit) {
  const Hdf5Reader file(path, kFormat, kVersion);
  if (file.text_attribute("tokenizer") != tokenizer.fingerprint()) {
    throw Error(cat(path, ": made with another tokenizer (", file.text_attribute("tokenizer"),
                    ") than the one in use (", tokenizer.fingerprint(), ")"));
  }
  const std::int64_t num_tokens = file.size("tokens");
  const auto offsets = file.read<std::int64_t>("prompt_offsets");
  const std::vector<std::string> questions = file.texts("questions"), targets = file.texts("targets");
  if (targets.empty() || questions.size() != targets.size() || offsets.size() != targets.size() + 1) {
    throw Error(cat(path, ": ", targets.size(), " targets, ", questions.size(), " questions and ", offsets.size(),
                    " prompt_offsets: the file is damaged"));
  }
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (offsets[i] < 0 || offsets[i + 1] <= offsets[i] || offsets[i + 1] > num_tokens || targets[i].empty()) {
      throw Error(cat(path, ": sample ", i, ": prompt ", offsets[i], " ... ", offsets[i + 1], " of ", num_tokens,
                      " tokens, target `", targets[i], "`: the file is damaged"));
    }
    EvalSample sample{
        {}, questions[i], targets[i], file.read<std::int32_t>("tokens", offsets[i], offsets[i + 1] - offsets[i])};
    for (const std::int32_t token : sample.prompt) {
      if (token < 0 || token >= tokenizer.vocab_size()) {
        throw Error(cat(path, ": sample ", i, ": token ", token, ", expected below ", tokenizer.vocab_size()));
      }
    }
    if (!visit(static_cast<std::int64_t>(i), std::move(sample))) return;
  }
}

// The settings of a published set.
BabilongConfig released_config(BabilongConfig babilong, const std::string& length_name) {
  if (babilong.stories.babi == "simulate") {
    throw UsageError("a released set is made of bAbI's own files: name their folder (--babi DIR), not simulate");
  }
  babilong.held_out_books = 0;
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
  return BabilongSampler(babilong, tokenizer, std::move(books), seed, config.split);
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

void read_eval_set(const std::string& path, const Tokenizer& tokenizer,
                   const std::function<bool(std::int64_t index, EvalSample&& sample)>& visit) {
  if (is_hdf5(path)) {
    read_hdf5(path, tokenizer, visit);
  } else {
    read_json(path, visit);
  }
}

std::vector<EvalSample> read_eval_set(const std::string& path, const Tokenizer& tokenizer) {
  std::vector<EvalSample> samples;
  read_eval_set(path, tokenizer, [&](std::int64_t, EvalSample&& sample) {
    samples.push_back(std::move(sample));
    return true;
  });
  return samples;
}

std::vector<std::int32_t> prompt_tokens(const EvalSample& sample, const Tokenizer& tokenizer,
                                        const BabilongConfig& config) {
  if (!sample.prompt.empty()) return sample.prompt;
  const StoryEncoder encoder(tokenizer, config.question_style, find_separator(tokenizer, config.separator_token),
                             find_end_token(tokenizer, config.end_token));
  std::vector<std::int32_t> tokens = encoder.fact(sample.input);
  const EncodedQuestion question = encoder.question(sample.question, sample.target);
  tokens.insert(tokens.end(), question.tokens.begin(), question.tokens.begin() + question.prompt_size);
  return tokens;
}

}  // namespace wt
