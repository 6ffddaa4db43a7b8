#include "data/babilong.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "data/inline_questions.h"

namespace wt {
namespace {

void check_share(const char* name, double value) {
  if (!(value >= 0 && value <= 1)) throw UsageError(cat("babilong: ", name, " is ", value, ", expected 0 ... 1"));
}

std::int64_t length(const std::vector<std::int32_t>& tokens) {
  return static_cast<std::int64_t>(tokens.size());
}

// Of which stories a sample can be made at all.
SampleLimits limits_of(const BabilongConfig& config) {
  SampleLimits limits;
  limits.min_facts = config.min_n_facts;
  limits.max_facts = config.max_n_facts;
  const std::vector<std::int64_t>& sizes = config.sample_sizes;
  const bool is_limited = config.size_rule == SizeRule::kTotal && std::count(sizes.begin(), sizes.end(), 0) == 0;
  if (is_limited) limits.max_tokens = *std::max_element(sizes.begin(), sizes.end());
  return limits;
}

}  // namespace

struct BabilongSampler::Part {
  enum class Kind : std::uint8_t { kFact, kInlineQuestion, kClosingQuestion };
  Kind kind = Kind::kFact;
  std::vector<std::int32_t> tokens;
  std::int64_t prompt_size = 0;  // of a question
  bool is_question() const { return kind != Kind::kFact; }
};

std::vector<std::int64_t> vary_n_segments(std::int64_t segment_size, std::int64_t max_segments) {
  std::vector<std::int64_t> sizes;
  for (std::int64_t n = 1; n <= max_segments; ++n) sizes.push_back(n * segment_size);
  return sizes;
}

BabilongSampler::BabilongSampler(const BabilongConfig& config, const Tokenizer& tokenizer,
                                 std::shared_ptr<const BookText> books, std::uint64_t seed, Split split)
    : config_(config),
      encoder_(tokenizer, config.question_style, find_separator(tokenizer, config.separator_token),
               config.end_id >= 0 ? config.end_id : find_end_token(tokenizer)),
      books_(std::move(books)),
      seed_(seed),
      split_(split),
      task_(babi_task_number(config.stories.task)) {
  check_config(split);
  if (has_background()) check_books();
  stories_ = open_stories(config_.stories, seed, split, limits_of(config_), encoder_);
  if (asks_inside()) {
    // What the rule cannot read is said now, and not by the sample that has it.
    stories_->for_each_fact([&](const std::string& fact) { known_questions(config_.stories.task, {&fact, 1}); });
  }
}

void BabilongSampler::check_config(Split split) const {
  const BabilongConfig& c = config_;
  check_share("mixed_length_ratio", c.mixed_length_ratio);
  check_share("no_background_rate", c.no_background_rate);
  check_share("inline_question_rate", c.inline_question_rate);
  check_share("holdout_pct", c.held_out_books);
  const auto fail = [](const auto&... what) { throw UsageError(cat("babilong: ", what...)); };
  if (c.sample_sizes.empty()) fail("no sample sizes, expected at least one number of tokens");
  for (const std::int64_t size : c.sample_sizes) {
    if (size < 0) fail("a sample size of ", size, ", expected numbers of tokens (0: no background)");
  }
  if (c.segment_size < 0) fail("segment_size is ", c.segment_size, ", expected at least 0");
  if (c.min_sentence_len < 1) fail("min_sentence_len is ", c.min_sentence_len, ", expected at least 1");
  if (c.max_sentence_len != 0 && c.max_sentence_len < c.min_sentence_len) {
    fail("max_sentence_len is ", c.max_sentence_len, ", expected 0 or at least min_sentence_len, ", c.min_sentence_len);
  }
  if (c.held_out_books == 1 && split == Split::kTrain) fail("holdout_pct is 1: nothing is left to train on");
  if (!(c.task_start_pct >= 0 && c.task_start_pct < c.task_end_pct && c.task_end_pct <= 1)) {
    fail("task_start_pct and task_end_pct are ", c.task_start_pct, " and ", c.task_end_pct,
         ", expected 0 <= start < end <= 1");
  }
  if (c.min_n_facts < 0 || c.max_n_facts < 0 || (c.max_n_facts > 0 && c.max_n_facts < c.min_n_facts)) {
    fail("min_facts and max_facts are ", c.min_n_facts, " and ", c.max_n_facts,
         ", expected 0 (no limit) or min <= max");
  }
  if (asks_inside() && !has_known_questions(c.stories.task)) {
    known_questions(c.stories.task, {});  // throws, saying for which tasks there is a rule
  }
  if (has_background() && books_ == nullptr) {
    fail("no books for the background: name a books.h5, a .txt or a folder of .txt (--books), or ask for length 0k");
  }
  if (has_background() && books_->vocab_size() != tokenizer().vocab_size()) {
    fail("the books were tokenised with ", books_->vocab_size(), " tokens, the tokenizer has ",
         tokenizer().vocab_size());
  }
}

bool BabilongSampler::asks_inside() const {
  return config_.inline_question_rate > 0 || config_.ask_everyone;
}

bool BabilongSampler::has_background() const {
  return config_.no_background_rate < 1 && std::any_of(config_.sample_sizes.begin(), config_.sample_sizes.end(),
                                                       [](std::int64_t size) { return size > 0; });
}

// The part of a book that this split may read; an empty one where that is nothing.
BabilongSampler::BookPart BabilongSampler::part_of(std::int64_t book) const {
  const BookPart whole{books_->first_sentence(book), books_->first_sentence(book + 1)};
  const double share = config_.held_out_books;
  const bool training = split_ == Split::kTrain;
  if (share == 0) return whole;
  const auto held_out = static_cast<std::int64_t>(static_cast<double>(whole.end - whole.begin) * share);
  if (held_out >= 2) {
    return training ? BookPart{whole.begin, whole.end - held_out} : BookPart{whole.end - held_out, whole.end};
  }
  // Book b is held out where the number of books that ought to be, rounded, rises with it.
  const auto up_to = [&](std::int64_t books) { return std::floor(static_cast<double>(books) * share + 0.5); };
  const bool is_held_out = up_to(book + 1) > up_to(book);
  return is_held_out == training ? BookPart{whole.begin, whole.begin} : whole;
}

bool BabilongSampler::is_wanted(std::int64_t sentence) const {
  const std::int64_t tokens = books_->sentence_length(sentence);
  return tokens >= config_.min_sentence_len && (config_.max_sentence_len == 0 || tokens <= config_.max_sentence_len);
}

// That there is something to draw, without which drawing would not end.
void BabilongSampler::check_books() const {
  for (std::int64_t book = 0; book < books_->num_books(); ++book) {
    const BookPart part = part_of(book);
    for (std::int64_t sentence = part.begin + (part.is_single() ? 0 : 1); sentence < part.end; ++sentence) {
      if (is_wanted(sentence)) return;
    }
  }
  throw Error(cat("babilong: no sentence of ", config_.min_sentence_len,
                  " tokens or more (data.min_sentence_len, --min-sentence-len) in the ", name_of(split_), " part (",
                  config_.held_out_books, " of the text is held out: data.holdout_pct) of ", books_->num_books(),
                  " books with ", books_->num_tokens(), " tokens: name more text, or allow shorter sentences"));
}

// The facts, each followed by its inline question where it has one, and the questions about everyone.
std::vector<BabilongSampler::Part> BabilongSampler::facts_with_questions(const BabiSample& story,
                                                                         RandomStream& random) const {
  std::vector<Part> parts;
  const auto ask = [&](Part::Kind kind, const KnownQuestion& known) {
    EncodedQuestion encoded = encoder_.question(known.question, known.answer);
    parts.push_back({kind, std::move(encoded.tokens), encoded.prompt_size});
  };
  const auto known_after = [&](std::size_t num_facts) {
    return known_questions(config_.stories.task, std::span(story.facts).first(num_facts));
  };
  for (std::size_t i = 0; i < story.facts.size(); ++i) {
    parts.push_back({Part::Kind::kFact, encoder_.fact(story.facts[i]), 0});
    if (config_.inline_question_rate > 0 && random.bernoulli(config_.inline_question_rate)) {
      const std::vector<KnownQuestion> known = known_after(i + 1);
      ask(Part::Kind::kInlineQuestion, known[static_cast<std::size_t>(random.below(known.size()))]);
    }
  }
  if (config_.ask_everyone) {
    std::vector<KnownQuestion> known = known_after(story.facts.size());
    random.shuffle(known);
    for (const KnownQuestion& asked : known) ask(Part::Kind::kClosingQuestion, asked);
  }
  return parts;
}

std::int64_t BabilongSampler::draw_size(std::int64_t needed, RandomStream& random) const {
  std::vector<std::int64_t> sizes;
  for (const std::int64_t size : config_.sample_sizes) {
    if (size == 0 || size >= needed || config_.size_rule == SizeRule::kContext) sizes.push_back(size);
  }
  WT_CHECK(!sizes.empty(), "babilong: a sample of ", needed, " tokens fits no sample size");
  // Both numbers are drawn whatever the sizes, so that the rest of the sample stays the same when sizes change.
  const bool take_largest = random.bernoulli(config_.mixed_length_ratio);
  const std::int64_t drawn = sizes[static_cast<std::size_t>(random.uniform() * static_cast<double>(sizes.size()))];
  return take_largest ? *std::max_element(sizes.begin(), sizes.end()) : drawn;
}

// A part that is not empty. By tokens, a book's share is that of all its tokens, which its parts share alike.
BabilongSampler::BookPart BabilongSampler::draw_part(RandomStream& random) const {
  while (true) {
    std::int64_t book = 0;
    if (config_.background_rule == BackgroundRule::kBooks) {
      book = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(books_->num_books())));
    } else {
      const auto token = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(books_->num_tokens())));
      book = books_->book_at(books_->sentence_at(token));
    }
    const BookPart part = part_of(book);
    if (part.end > part.begin) return part;
  }
}

std::vector<BabilongSampler::BackgroundSentence> BabilongSampler::draw_background(std::int64_t wanted,
                                                                                  RandomStream& random) const {
  std::vector<BackgroundSentence> background;
  std::int64_t total = 0;
  while (total < wanted) {
    const BookPart part = draw_part(random);
    const std::int64_t begin = books_->first_token(part.begin), end = books_->first_token(part.end);
    const auto start = begin + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(end - begin)));
    const std::int64_t first = part.is_single() ? part.begin : books_->sentence_at(start) + 1;
    for (std::int64_t s = first; s < part.end && total < wanted; ++s) {
      if (!is_wanted(s)) continue;
      const std::int64_t tokens = books_->sentence_length(s);
      background.push_back({s, std::min(tokens, wanted - total)});
      total += tokens;
    }
  }
  return background;
}

// For each fact the number of background sentences before it, in rising order.
std::vector<std::int64_t> BabilongSampler::draw_gaps(const std::vector<BackgroundSentence>& background,
                                                     std::int64_t num_facts, std::int64_t facts_length,
                                                     std::int64_t size, RandomStream& random) const {
  const auto num_sentences = static_cast<std::int64_t>(background.size());
  std::int64_t first = 0, last = num_sentences;
  if (config_.task_start_pct > 0 || config_.task_end_pct < 1) {
    const double from = config_.task_start_pct * static_cast<double>(size);
    const double to = config_.task_end_pct * static_cast<double>(size) - static_cast<double>(facts_length);
    std::int64_t position = 0;  // of gap i, in tokens of background
    first = num_sentences;
    last = -1;
    for (std::int64_t i = 0; i <= num_sentences; ++i) {
      const auto at = static_cast<double>(position);
      if (at >= from) first = std::min(first, i);
      if (at < to) last = i;
      if (i < num_sentences) position += background[static_cast<std::size_t>(i)].length;
    }
    last = std::max(first, last);
  }
  std::vector<std::int64_t> gaps;
  for (std::int64_t i = 0; i < num_facts; ++i) {
    gaps.push_back(first + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(last - first + 1))));
  }
  std::sort(gaps.begin(), gaps.end());
  return gaps;
}

BabilongSample BabilongSampler::sample(std::uint64_t index) const {
  const BabiSample story = stories_->sample(index);
  RandomStream random = data_stream(seed_, DataPurpose::kSample, split_, task_, index);
  std::vector<Part> parts = facts_with_questions(story, random);
  const EncodedQuestion last = encoder_.question(story.question, story.answer);

  std::int64_t facts_length = 0, questions_length = 0;
  for (const Part& part : parts) (part.is_question() ? questions_length : facts_length) += length(part.tokens);
  const std::int64_t needed = facts_length + length(last.tokens);
  const std::int64_t size = draw_size(needed, random);
  const bool total_rule = config_.size_rule == SizeRule::kTotal;
  if (total_rule && size > 0) {
    // Leave out the questions that have no room.
    std::int64_t room = size - needed;
    questions_length = 0;
    std::erase_if(parts, [&](const Part& part) {
      if (!part.is_question()) return false;
      const std::int64_t tokens = length(part.tokens);
      if (tokens > room) return true;
      room -= tokens;
      questions_length += tokens;
      return false;
    });
  }
  const std::int64_t taken = total_rule ? needed + questions_length : facts_length;
  const bool bare = random.bernoulli(config_.no_background_rate) || size <= taken;
  const std::vector<BackgroundSentence> background =
      bare ? std::vector<BackgroundSentence>{} : draw_background(size - taken, random);
  const std::vector<std::int64_t> gaps =
      draw_gaps(background, static_cast<std::int64_t>(story.facts.size()), facts_length, size, random);

  BabilongSample out;
  const std::size_t reserve = static_cast<std::size_t>((bare ? 0 : size - taken) + needed + questions_length);
  out.tokens.reserve(reserve);
  out.mask.reserve(reserve);
  const auto append = [&](const std::vector<std::int32_t>& tokens) {
    out.tokens.insert(out.tokens.end(), tokens.begin(), tokens.end());
    out.mask.resize(out.tokens.size(), 0);
  };
  const auto append_question = [&](const std::vector<std::int32_t>& tokens, std::int64_t prompt_size) {
    append(tokens);
    // The separator predicts the answer's first token, ..., the answer's last token predicts end-of-text.
    const std::int64_t predictions = length(tokens) - prompt_size;
    std::fill(out.mask.end() - predictions - 1, out.mask.end() - 1, std::uint8_t{1});
  };
  std::size_t sentence = 0;
  const auto append_background = [&](std::size_t until) {
    for (; sentence < until; ++sentence) {
      books_->append_sentence(background[sentence].sentence, background[sentence].length, out.tokens);
    }
    out.mask.resize(out.tokens.size(), 0);
  };
  // Facts go before their sentence, with their questions right behind them.
  std::size_t fact = 0;
  for (const Part& part : parts) {
    if (part.kind == Part::Kind::kFact) {
      append_background(static_cast<std::size_t>(gaps[fact++]));
      out.fact_positions.push_back(length(out.tokens));
      append(part.tokens);
      continue;
    }
    if (part.kind == Part::Kind::kClosingQuestion) append_background(background.size());
    append_question(part.tokens, part.prompt_size);
    ++out.num_inline_questions;
  }
  append_background(background.size());
  out.context_size = length(out.tokens);
  out.prompt_size = out.context_size + last.prompt_size;
  append_question(last.tokens, last.prompt_size);
  out.question = story.question;
  out.answer = story.answer;
  out.facts = story.facts;
  if (config_.segment_size > 0) {
    out.num_segments = static_cast<int>((length(out.tokens) + config_.segment_size - 1) / config_.segment_size);
  }
  return out;
}

}  // namespace wt
