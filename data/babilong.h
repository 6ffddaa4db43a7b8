// BABILong samples (Kuratov et al., arXiv 2406.10149): the facts of a bAbI story, in order, between sentences of book
// text, and the story's question at the end.
//
// The sequence for training: context, question, separator, answer, end-of-text. mask[t] selects the label t+1, so it is
// true on the separator and on the answer's tokens: |answer| + 1 predictions, the last of them end-of-text.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/babi.h"
#include "data/books.h"
#include "data/splits.h"
#include "data/story_source.h"
#include "data/tokenizer.h"

namespace wt {

// What `sample_sizes` measures. kTotal: the whole sequence has at most that many tokens (exactly that many where there
// is background), so n segments of N tokens never overflow. kContext: facts and background alone have exactly that
// many, question and answer come on top, as in the published code.
enum class SizeRule : std::uint8_t { kTotal, kContext };

// kProse: " Where is Mary?" and " office", as the words stand in running text. kPublished: "Where is Mary? " and
// "office", as the published code tokenises them. Facts and background always have one blank in front.
enum class QuestionStyle : std::uint8_t { kProse, kPublished };

struct BabilongConfig {
  StoryOptions stories;

  // One is drawn per sample; with probability mixed_length_ratio it is the largest. Only sizes that the story fits are
  // drawn from. 0 stands for no background at all.
  std::vector<std::int64_t> sample_sizes{512};
  double mixed_length_ratio = 0.0;
  SizeRule size_rule = SizeRule::kTotal;
  // For BabilongSample::num_segments only; 0: not counted.
  std::int64_t segment_size = 0;

  // Background: sentences of min_sentence_len ... max_sentence_len tokens (0: no upper limit); the last is cut to fit.
  std::int64_t min_sentence_len = 10;
  std::int64_t max_sentence_len = 0;
  // The share of samples that get no background whatever their size.
  double no_background_rate = 0.0;
  // The share of every book, from its end, that only validation and test samples are drawn from.
  double held_out_books = 0.1;
  // The part of the sample that facts are put in; [0, 1) is everywhere.
  double task_start_pct = 0.0;
  double task_end_pct = 1.0;

  // Samples with other numbers of facts are skipped (0: no limit). (The published code counts the question as well.)
  int min_n_facts = 0;
  int max_n_facts = 0;

  // After each fact, with this probability, a question about a random person known by then, with separator, answer and
  // end-of-text, all of it right behind the fact; its answer counts for the loss too.
  double inline_question_rate = 0.0;
  // Before the last question every person known is asked about in the same way, in random order.
  bool ask_everyone = false;

  QuestionStyle question_style = QuestionStyle::kProse;
  // Tokens between question and answer, and after the answer; "" looks for <|gen|>, else the first token of "GEN", and
  // for <|endoftext|>, else <|end_of_text|>.
  std::string separator_token;
  std::string end_token;
};

// N, 2N, ... max_segments * N: the sizes of a curriculum stage with varying numbers of segments.
std::vector<std::int64_t> vary_n_segments(std::int64_t segment_size, std::int64_t max_segments);

struct BabilongSample {
  std::vector<std::int32_t> tokens;
  std::vector<std::uint8_t> mask;  // as long as tokens
  // tokens[0, context_size) is the context; tokens[0, prompt_size) ends with the separator: generation starts there.
  std::int64_t context_size = 0;
  std::int64_t prompt_size = 0;
  std::vector<std::int64_t> fact_positions;  // first token of each fact
  int num_inline_questions = 0;
  int num_segments = 0;  // of the whole sequence
  std::string question;
  std::string answer;
  std::vector<std::string> facts;
};

// Immutable; sample(i) is a pure function of (config, seed, split, i) and may be called from several threads.
class BabilongSampler {
 public:
  // `books` may be null where no sample has background. Throws UsageError where settings contradict each other or are
  // out of range, and Error where books or stories have nothing that fits.
  BabilongSampler(const BabilongConfig& config, const Tokenizer& tokenizer, std::shared_ptr<const BookText> books,
                  std::uint64_t seed, Split split);

  // Throws Error where, after a thousand tries, no story has fitted.
  BabilongSample sample(std::uint64_t index) const;

  // Different samples there are before stories repeat; 0: without end.
  std::uint64_t size() const { return stories_->size(); }
  const BabilongConfig& config() const { return config_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  std::int32_t separator_id() const { return separator_id_; }
  std::int32_t end_id() const { return end_id_; }

 private:
  struct Pieces;
  bool try_story(const BabiSample& story, RandomStream& random, Pieces& pieces) const;
  std::vector<std::int32_t> encode_question(const std::string& question) const;
  std::vector<std::int32_t> encode_answer(const std::string& answer) const;
  void draw_background(std::int64_t length, RandomStream& random, std::vector<std::vector<std::int32_t>>& out) const;

  struct BookPart {
    std::int64_t begin = 0, end = 0;  // sentences
  };
  BabilongConfig config_;
  Tokenizer tokenizer_;
  std::shared_ptr<const BookText> books_;
  std::shared_ptr<const StorySource> stories_;
  std::vector<BookPart> parts_;  // of the books this split reads, each with at least one sentence that is long enough
  std::uint64_t seed_;
  Split split_;
  int task_ = 0;
  std::int32_t separator_id_ = 0;
  std::int32_t end_id_ = 0;
};

// The separator and end-of-text ids that a sampler would use.
std::int32_t find_separator(const Tokenizer& tokenizer, const std::string& wanted = {});
std::int32_t find_end_token(const Tokenizer& tokenizer, const std::string& wanted = {});

}  // namespace wt
