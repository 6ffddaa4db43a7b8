// GPTScore: how likely a language model takes one text to say another in other words (Fu et al., "GPTScore: Evaluate as
// You Desire", arXiv 2302.04166), as its code computes it for models of GPT-2's kind.
//
//   text(a → t) = instruction, line break, a, " In other words , ", t
//   score(a → t) = mean over the last len(tokens(t)) positions of text(a → t) of log p(label_i | the tokens before i)
//   ref_hypo = score(reference → hypothesis), hypo_ref = score(hypothesis → reference)
//   avg_f = (ref_hypo + hypo_ref) / 2, harm_f = ref_hypo · hypo_ref / (ref_hypo + hypo_ref)
//
// of each the largest over several references. The labels are t tokenised alone. In the text a blank stands before t,
// so that in vocabularies like GPT-2's its first label is mostly another token than the one that was read: published
// figures were made with it and without.
//
// Beside it, the mean negative log-likelihood of the reference behind the source, by the tokens that are there: of
// several references the smallest.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "layers/model.h"
#include "schedulers/plan.h"
#include "train/eval/gptscore_input.h"
#include "train/eval/likelihood.h"

namespace wt {

enum class FirstLabel : std::uint8_t {
  kKeep,  // counts
  kDrop,  // is left out, as in the original code
};

struct GptScoreOptions {
  FirstLabel first_label = FirstLabel::kKeep;
  std::int64_t max_tokens = 1000;  // of a text, at least 2
  bool special_tokens = true;      // what the tokenizer puts before a text (BOS)
  std::int64_t batch_size = 8;
  Schedule schedule = Schedule::kDiagonal;
  // Hears how many of how many texts are done, from none on; false to stop.
  std::function<bool(std::int64_t done, std::int64_t texts)> progress;
};

struct PairScore {
  double ref_hypo = 0, hypo_ref = 0, avg_f = 0, harm_f = 0;
};

struct LineScores {
  std::vector<std::optional<PairScore>> aspects;  // nothing where hypothesis or references are empty
  std::optional<double> reference_nll;            // nothing where there is no source
};

struct GptScores {
  std::vector<LineScores> lines;  // all; after a stop those that are whole, from the first one on
  std::int64_t texts = 0;         // different ones that were asked for
  std::int64_t cut_texts = 0;     // of those that were read: with more than max_tokens
  std::int64_t cut_sources = 0;   // the same: with a source that was too long for the model
};

// Tokens that the model reads at once; 0: no limit.
std::int64_t longest_text(const Model& model);

// Each different text is computed once. Throws NotFinite (train/eval/generate.h).
GptScores gpt_scores(const Model& model, const Tokenizer& tokenizer, const std::vector<ScoreLine>& lines,
                     const std::vector<Aspect>& aspects, const GptScoreOptions& options);

// The parts of it.

// A hypothesis or reference as it is scored: line breaks are blanks, data/detokenizer.h, and " ." at the end where
// there is no full stop. "" where nothing is left.
std::string scored_text(const std::string& text);
// The sentence without blanks around it, ". " for each ":", and a line break; "" for an empty one.
std::string instruction_text(const std::string& sentence);

struct PreparedText {
  LabelledText text;
  bool is_cut = false;
};

// text(a → t), where `before` is instruction_text(). With s = before + a, too long a text is cut as published: where
// e = len(tokens(s)) - 2 + len(tokens(t)) - 2 - max_tokens is above 0, s becomes the text of its own tokens without the
// first, the last, the e before that, and once more the first and the last; then only the first max_tokens of all
// tokens are read.
PreparedText rephrased_text(const Tokenizer& tokenizer, const std::string& before, const std::string& a,
                            const std::string& t, const GptScoreOptions& options);
// The reference behind the source, with a blank between unless there is one. Of more than `limit` tokens (0: any
// number) the source's beginning is left out, and of a reference that is longer alone its end.
PreparedText continued_text(const Tokenizer& tokenizer, const std::string& source, const std::string& reference,
                            std::int64_t limit, bool special_tokens);

}  // namespace wt
