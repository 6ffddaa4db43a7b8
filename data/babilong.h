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

#include "data/babi/stories.h"
#include "data/books.h"
#include "data/splits.h"
#include "data/story_encoder.h"
#include "data/story_source.h"
#include "data/tokenizer.h"

namespace wt {

// What `sample_sizes` measures. kTotal: the whole sequence has at most that many tokens (exactly that many where there
// is background), so n segments of N tokens never overflow. kContext: facts and background alone have exactly that
// many, question and answer come on top, as in the published code.
enum class SizeRule : std::uint8_t { kTotal, kContext };

// Where background begins. kTokens: at any token of the books alike, so that a long book stands in more samples than a
// short one. kBooks: in any book alike, at any token of it, as in the published code.
enum class BackgroundRule : std::uint8_t { kTokens, kBooks };

struct BabilongConfig {
  StoryOptions stories;

  // One is drawn per sample; with probability mixed_length_ratio it is the largest. Only sizes that the story fits are
  // drawn from. 0 stands for no background and no limit.
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
  BackgroundRule background_rule = BackgroundRule::kTokens;
  // The share of the books that only validation and test samples are drawn from: of every book its last sentences, and,
  // of books so short that those would be fewer than two, whole ones, spread evenly through all.
  double held_out_books = 0.1;
  // The part of the sample that facts are put in: gaps between sentences that start within [start, end) of the sample,
  // and leave room for all facts before its end; where there is none, the first gap from start on. 0 and 1: everywhere.
  double task_start_pct = 0.0;
  double task_end_pct = 1.0;

  // Samples with other numbers of facts are left out (0: no limit). (The published code counts the question as well.)
  int min_n_facts = 0;
  int max_n_facts = 0;

  // After each fact, with this probability, a question about a random person known by then, with separator, answer and
  // end-of-text, all of it right behind the fact; its answer counts for the loss too.
  double inline_question_rate = 0.0;
  // At the end of the context every person known is asked about in the same way, in random order.
  bool ask_everyone = false;
  // Under SizeRule::kTotal such questions are put in as long as the sample has room for them, first come, first served.

  QuestionStyle question_style = QuestionStyle::kProse;
  // See find_separator().
  std::string separator_token;
  // Behind the answer; -1: find_end_token().
  std::int32_t end_id = -1;
};

// N, 2N, ... max_segments * N: the sizes of a curriculum stage with varying numbers of segments.
std::vector<std::int64_t> vary_n_segments(std::int64_t segment_size, std::int64_t max_segments);

struct BabilongSample {
  std::vector<std::int32_t> tokens;
  std::vector<std::uint8_t> mask;  // as long as tokens
  // tokens[0, context_size) is the context, inline questions and those of ask_everyone included; tokens[0, prompt_size)
  // ends with the separator: generation starts there.
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
  // out of range, or where no story fits, and Error where the books have nothing that does.
  BabilongSampler(const BabilongConfig& config, const Tokenizer& tokenizer, std::shared_ptr<const BookText> books,
                  std::uint64_t seed, Split split);

  // index < 2^36.
  BabilongSample sample(std::uint64_t index) const;

  // Different samples there are before stories repeat; 0: without end.
  std::uint64_t size() const { return stories_->size(); }
  // The share of all stories' samples that fit: see StorySource.
  double accepted_share() const { return stories_->accepted_share(); }
  const BabilongConfig& config() const { return config_; }
  const Tokenizer& tokenizer() const { return encoder_.tokenizer(); }
  std::int32_t separator_id() const { return encoder_.separator_id(); }
  std::int32_t end_id() const { return encoder_.end_id(); }

 private:
  struct Part;  // a fact, or a question in the context
  struct BookPart {
    std::int64_t begin = 0, end = 0;  // sentences
    // Draws start at a random place and drop the sentence they hit, so the first one is reached only where it is alone.
    bool is_single() const { return end - begin == 1; }
  };
  struct BackgroundSentence {
    std::int64_t sentence = 0, length = 0;  // the first `length` tokens of it
  };
  void check_config(Split split) const;
  void check_books() const;
  BookPart part_of(std::int64_t book) const;
  bool is_wanted(std::int64_t sentence) const;
  BookPart draw_part(RandomStream& random) const;
  bool has_background() const;
  bool asks_inside() const;  // the context, too
  std::vector<Part> facts_with_questions(const BabiSample& story, RandomStream& random) const;
  std::int64_t draw_size(std::int64_t needed, RandomStream& random) const;
  std::vector<BackgroundSentence> draw_background(std::int64_t length, RandomStream& random) const;
  std::vector<std::int64_t> draw_gaps(const std::vector<BackgroundSentence>& background, std::int64_t num_facts,
                                      std::int64_t facts_length, std::int64_t size, RandomStream& random) const;

  BabilongConfig config_;
  StoryEncoder encoder_;
  std::shared_ptr<const BookText> books_;
  std::shared_ptr<const StorySource> stories_;
  std::uint64_t seed_;
  Split split_;
  int task_;
};

}  // namespace wt
