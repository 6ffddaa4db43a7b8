// GPTScore: texts and labels, and scores held to logits that are looked at one by one.
#include "train/eval/gptscore.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "data/tokenizer.h"
#include "tests/schedulers/support.h"
#include "tests/support/expect_error.h"
#include "tests/support/tolerances.h"
#include "train/eval/generate.h"

namespace wt {
namespace {

using Ids = std::vector<std::int32_t>;

const std::string kTokenizers = WAVETAPE_SOURCE_DIR "/tests/fixtures/tokenizers/";

const Tokenizer& tokenizer() {
  static const Tokenizer loaded = Tokenizer::load(kTokenizers + "gpt2.json");
  return loaded;
}

Ids encoded(const std::string& text) {
  return tokenizer().encode(text);
}

Ids part(const Ids& ids, std::size_t begin, std::size_t end) {
  return {ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.begin() + static_cast<std::ptrdiff_t>(end)};
}

TEST(GptScoreText, IsDetokenisedAndEndsInAFullStop) {
  EXPECT_EQ(scored_text("It 's\nhere ,\nMary ."), "It's here, Mary.");
  EXPECT_EQ(scored_text(" so \" it \" is ?\n"), "so \"it\" is? .");
  EXPECT_EQ(scored_text("3 ."), "3.");
  EXPECT_EQ(scored_text("."), ".");
  EXPECT_EQ(scored_text("and so on ..."), "and so on...");
  for (const char* text : {"", " ", "\n \t\n", "\u00a0"}) EXPECT_EQ(scored_text(text), "") << text;
}

TEST(GptScoreText, InstructionsHaveNoColons) {
  EXPECT_EQ(instruction_text(" Say it again, so: well :\n"), "Say it again, so.  well . \n");
  EXPECT_EQ(instruction_text("Say it again:"), "Say it again. \n");
  EXPECT_EQ(instruction_text("  "), "");
}

TEST(GptScoreText, LabelsAreTheTargetsAlone) {
  GptScoreOptions options;
  const std::string a = "Mary went to the office.", t = "the office, she said.";
  const PreparedText kept = rephrased_text(tokenizer(), "Again.\n", a, t, options);
  EXPECT_FALSE(kept.is_cut);
  EXPECT_EQ(kept.text.ids, encoded("Again.\nMary went to the office. In other words , the office, she said."));
  EXPECT_EQ(kept.text.labels, encoded(t));
  const std::size_t n = kept.text.ids.size(), k = kept.text.labels.size();
  EXPECT_NE(kept.text.labels.front(), kept.text.ids[n - k]) << "there a blank is part of the token";
  EXPECT_EQ(kept.text.labels.back(), kept.text.ids.back());
  options.first_label = FirstLabel::kDrop;
  const PreparedText dropped = rephrased_text(tokenizer(), "Again.\n", a, t, options);
  EXPECT_EQ(dropped.text.ids, kept.text.ids);
  EXPECT_EQ(dropped.text.labels, part(kept.text.labels, 1, k));
}

// By the rule's own words: s is instruction, line break and a.
TEST(GptScoreText, TooLongOnesAreCutAsPublished) {
  const std::string before = "Say this again, in other words.\n",
                    a = "Mary went to the office, took the milk and left it in the garden behind the house.",
                    t = "The milk is in the garden. \u20ac 5";
  const Ids s = encoded(before + a), target = encoded(t), whole = encoded(before + a + " In other words , " + t);
  GptScoreOptions options;
  options.max_tokens = static_cast<std::int64_t>(s.size() + target.size()) - 4;
  EXPECT_GT(static_cast<std::int64_t>(whole.size()), options.max_tokens);
  const PreparedText just = rephrased_text(tokenizer(), before, a, t, options);
  EXPECT_EQ(just.text.ids, part(whole, 0, static_cast<std::size_t>(options.max_tokens)))
      << "e is 0: only the end is cut off";
  EXPECT_TRUE(just.is_cut);
  EXPECT_EQ(just.text.labels, target) << "they are those of the last tokens that are left";
  for (const std::size_t excess : {1, 2, 7, 20}) {
    options.max_tokens = static_cast<std::int64_t>(s.size() + target.size() - 4 - excess);
    const std::string rest = tokenizer().decode(part(s, 2, s.size() - 2 - excess));
    Ids ids = encoded(rest + " In other words , " + t);
    ids.resize(std::min(ids.size(), static_cast<std::size_t>(options.max_tokens)));
    const PreparedText cut = rephrased_text(tokenizer(), before, a, t, options);
    EXPECT_TRUE(cut.is_cut);
    EXPECT_EQ(cut.text.ids, ids) << excess;
    EXPECT_EQ(cut.text.labels, target) << excess;
  }
}

TEST(GptScoreText, WhereTheTargetIsTooLongALittleMayStay) {
  const std::string a = "Mary went to the office and left the milk.", t = "John was in the garden, in the kitchen too.";
  const Ids s = encoded(a), target = encoded(t);
  ASSERT_GT(s.size(), 12u);
  // e is three more than the tokens there are to leave out: Python's [:-3] then leaves out three.
  GptScoreOptions options;
  options.max_tokens = static_cast<std::int64_t>(target.size()) - 2 - 3;
  Ids ids = encoded(tokenizer().decode(part(s, 2, s.size() - 5)) + " In other words , " + t);
  ids.resize(static_cast<std::size_t>(options.max_tokens));
  const PreparedText text = rephrased_text(tokenizer(), "", a, t, options);
  EXPECT_EQ(text.text.ids, ids);
  EXPECT_EQ(text.text.labels, part(target, 1, static_cast<std::size_t>(options.max_tokens)))
      << "as many as tokens are read, but for the first, which nothing stands before";
  // So much more that nothing of it stays.
  options.max_tokens = 2;
  const PreparedText least = rephrased_text(tokenizer(), "", a, t, options);
  EXPECT_EQ(least.text.ids, part(encoded(" In other words , " + t), 0, 2));
  EXPECT_EQ(least.text.labels, part(target, 1, 2));
  options.max_tokens = 1;
  EXPECT_ERROR(rephrased_text(tokenizer(), "", a, t, options), Error, "max_tokens is 1, expected at least 2");
}

TEST(GptScoreText, ACharacterThatIsCutApartIsOneMark) {
  // Three bytes a character, of which the vocabulary has no token longer than a byte.
  const std::string a = "\u4f60\u597d\u4e16\u754c\u4f60\u597d\u4e16\u754c", t = "so it is";
  ASSERT_EQ(encoded(a).size(), 24u);
  GptScoreOptions options;
  options.max_tokens = static_cast<std::int64_t>(22 + encoded(t).size() - 2 - 2);
  const PreparedText text = rephrased_text(tokenizer(), "", a, t, options);
  Ids ids = encoded("\uFFFD\u597d\u4e16\u754c\u4f60\u597d\uFFFD In other words , " + t);
  ids.resize(std::min(ids.size(), static_cast<std::size_t>(options.max_tokens)));
  EXPECT_EQ(text.text.ids, ids);
}

TEST(GptScoreText, ATokenBeginsTheTextThatIsReadAlone) {
  const Tokenizer llama = Tokenizer::load(kTokenizers + "llama3.json");
  ASSERT_EQ(llama.ids_before().size(), 1u);
  GptScoreOptions options;
  const Ids plain = llama.encode("A.\nb. In other words , c.");
  const PreparedText begun = rephrased_text(llama, "A.\n", "b.", "c.", options);
  EXPECT_EQ(begun.text.ids.front(), llama.ids_before().front());
  EXPECT_EQ(part(begun.text.ids, 1, begun.text.ids.size()), plain);
  EXPECT_EQ(begun.text.labels, llama.encode("c."));
  options.special_tokens = false;
  EXPECT_EQ(rephrased_text(llama, "A.\n", "b.", "c.", options).text.ids, plain);
  EXPECT_EQ(continued_text(llama, "b.", "c", 0, true).text.ids.front(), llama.ids_before().front());
}

TEST(GptScoreText, TheReferenceGoesOnFromTheSource) {
  const auto text = [](const std::string& source, const std::string& reference, std::int64_t limit = 0) {
    return continued_text(tokenizer(), source, reference, limit, true);
  };
  const PreparedText whole = text("Mary went to", "the office.");
  EXPECT_EQ(whole.text.ids, encoded("Mary went to the office."));
  EXPECT_EQ(whole.text.labels, encoded(" the office."));
  EXPECT_EQ(text("Mary went to\n", "the office.").text.labels, encoded("the office."));
  EXPECT_EQ(text("Mary went to", "\nthe office.").text.labels, encoded("\nthe office."));
  const std::size_t n = whole.text.ids.size(), k = whole.text.labels.size();
  ASSERT_GT(n - k, 3u);
  const PreparedText cut = text("Mary went to", "the office.", static_cast<std::int64_t>(n) - 2);
  EXPECT_TRUE(cut.is_cut);
  EXPECT_EQ(cut.text.ids, part(whole.text.ids, 2, n)) << "the source's beginning is what goes";
  EXPECT_EQ(cut.text.labels, whole.text.labels);
  const PreparedText least = text("Mary went to", "the office.", static_cast<std::int64_t>(k) - 1);
  EXPECT_EQ(least.text.labels, part(whole.text.labels, 0, k - 2)) << "one token of the source stays";
  EXPECT_EQ(least.text.ids, part(whole.text.ids, n - k - 1, n - 2));
  EXPECT_ERROR(text("Mary went to", "the office.", 1), Error, "room for 1 tokens, expected at least 2");
}

enum class Kind : std::uint8_t { kLlama, kGpt2, kArmt, kRmt, kHybrid };

std::unique_ptr<Model> model_of(Kind kind, DType dtype = DType::kF64) {
  ModelConfig config = tiny_config(kind == Kind::kGpt2     ? "gpt2"
                                   : kind == Kind::kHybrid ? "hybrid"
                                                           : "llama",
                                   2);  // segments of 5
  config.vocab_size = tokenizer().vocab_size() + 3;
  config.max_positions = 64;
  if (kind == Kind::kLlama || kind == Kind::kGpt2 || kind == Kind::kRmt) config.armt.reset();
  if (kind == Kind::kRmt) {
    config.rmt.emplace();
    config.rmt->segment_size = 5;
    config.rmt->num_mem_tokens = 2;
  }
  return tiny_model(config, dtype);
}

// log p of every id at every place, from the logits of one text that is read alone, cell by cell.
double mean_by_logits(const Model& model, const LabelledText& text) {
  const auto n = static_cast<std::int64_t>(text.ids.size()), k = static_cast<std::int64_t>(text.labels.size());
  std::vector<TokenPlace> places;
  for (std::int64_t t = 0; t < n; ++t) places.push_back({0, t});
  Executor executor(model);
  State state = model.new_state(1);
  const Tensor hidden = executor.forward(Work(model, {text.ids}, 1, Schedule::kSequential, places), state, {});
  std::vector<std::vector<double>> logits;
  visit_logits(model, hidden, [&](std::int64_t, const Tensor& rows) {
    for (std::int64_t row = 0; row < rows.dim(0); ++row) logits.push_back(rows.select(row).to_vector<double>());
  });
  double sum = 0;
  for (std::int64_t i = 0; i < k; ++i) {
    const std::vector<double>& row = logits[static_cast<std::size_t>(n - k + i - 1)];
    double total = 0;
    for (const double logit : row) total += std::exp(logit);
    sum += row[static_cast<std::size_t>(text.labels[static_cast<std::size_t>(i)])] - std::log(total);
  }
  return sum / static_cast<double>(k);
}

std::vector<ScoreLine> some_lines() {
  const auto line = [](const char* id, const char* source, const char* hypothesis,
                       std::vector<std::string> references) {
    return ScoreLine{std::string("a:") + id, id, "a", source, hypothesis, std::move(references), "Do it again: now."};
  };
  return {line("1", "Where is Mary?", "She is in the office .", {"the office"}),
          line("2", "", "The milk , I think", {"milk", "the apple\nand the milk", ""}),
          line("3", "Where?", " \n", {"here"}),
          line("4", "So", "no answer", {"", " "}),
          line("5", "Where is Mary?", "the office", {"She is in the office ."}),
          line("6", "Who?", "she , who took the milk and went to the garden and left it there", {"Mary", "John"})};
}

const std::vector<Aspect> kAspects{{"quality", "Say it well:"}, {"plain", ""}, {"own", std::nullopt}};

class GptScore : public testing::TestWithParam<Kind> {};

TEST_P(GptScore, IsWhatTheLogitsSay) {
  const std::unique_ptr<Model> model = model_of(GetParam());
  const std::vector<ScoreLine> lines = some_lines();
  for (const FirstLabel first : {FirstLabel::kKeep, FirstLabel::kDrop}) {
    GptScoreOptions options;
    options.max_tokens = 40;  // some are longer
    options.first_label = first;
    options.schedule = choose_schedule("auto", model->one_after_another());
    const GptScores scores = gpt_scores(*model, tokenizer(), lines, kAspects, options);
    ASSERT_EQ(scores.lines.size(), lines.size());
    EXPECT_GT(scores.cut_texts, 0);
    EXPECT_EQ(scores.cut_sources, 0);
    int compared = 0;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const std::string hypothesis = scored_text(lines[i].hypothesis);
      for (std::size_t k = 0; k < kAspects.size(); ++k) {
        const std::string before = instruction_text(kAspects[k].sentence.value_or(lines[i].instruction));
        constexpr double kLowest = -std::numeric_limits<double>::infinity();
        PairScore best{kLowest, kLowest, kLowest, kLowest};
        for (const std::string& raw : lines[i].references) {
          const std::string reference = scored_text(raw);
          if (reference.empty() || hypothesis.empty()) continue;
          const double a =
              mean_by_logits(*model, rephrased_text(tokenizer(), before, reference, hypothesis, options).text);
          const double b =
              mean_by_logits(*model, rephrased_text(tokenizer(), before, hypothesis, reference, options).text);
          best = {std::max(best.ref_hypo, a), std::max(best.hypo_ref, b), std::max(best.avg_f, 0.5 * (a + b)),
                  std::max(best.harm_f, a * b / (a + b))};
        }
        const std::optional<PairScore>& score = scores.lines[i].aspects[k];
        ASSERT_EQ(score.has_value(), std::isfinite(best.avg_f)) << i;
        if (!score) continue;
        EXPECT_NEAR(score->ref_hypo, best.ref_hypo, kSchedulesAgreeF64) << i << kAspects[k].name;
        EXPECT_NEAR(score->hypo_ref, best.hypo_ref, kSchedulesAgreeF64) << i << kAspects[k].name;
        EXPECT_NEAR(score->avg_f, best.avg_f, kSchedulesAgreeF64) << i << kAspects[k].name;
        EXPECT_NEAR(score->harm_f, best.harm_f, kSchedulesAgreeF64) << i << kAspects[k].name;
        EXPECT_LT(score->harm_f, 0);
        ++compared;
      }
      std::optional<double> nll;
      for (const std::string& raw : lines[i].references) {
        if (lines[i].source.empty() || scored_text(raw).empty()) continue;
        const double value = -mean_by_logits(*model, continued_text(tokenizer(), lines[i].source, raw, 0, true).text);
        nll = std::min(nll.value_or(value), value);
      }
      ASSERT_EQ(scores.lines[i].reference_nll.has_value(), nll.has_value()) << i;
      if (!nll) continue;
      EXPECT_NEAR(*scores.lines[i].reference_nll, *nll, kSchedulesAgreeF64) << i;
    }
    EXPECT_EQ(compared, 4 * 3) << "two lines have empty texts";
  }
}

TEST_P(GptScore, NoMatterWhatIsComputedTogether) {
  const std::unique_ptr<Model> model = model_of(GetParam());
  const std::vector<ScoreLine> lines = some_lines();
  std::vector<LineScores> first;
  for (const std::int64_t batch : {1, 3, 64}) {
    for (const Schedule schedule : {Schedule::kSequential, Schedule::kDiagonal, Schedule::kStreaming}) {
      if (model->one_after_another() && schedule != Schedule::kSequential) continue;
      GptScoreOptions options;
      options.max_tokens = 40;
      options.batch_size = batch;
      options.schedule = schedule;
      const std::vector<LineScores> scores = gpt_scores(*model, tokenizer(), lines, kAspects, options).lines;
      ASSERT_EQ(scores.size(), lines.size());
      if (first.empty()) first = scores;
      for (std::size_t i = 0; i < lines.size(); ++i) {
        for (std::size_t k = 0; k < kAspects.size(); ++k) {
          ASSERT_EQ(scores[i].aspects[k].has_value(), first[i].aspects[k].has_value());
          if (!scores[i].aspects[k]) continue;
          EXPECT_NEAR(scores[i].aspects[k]->avg_f, first[i].aspects[k]->avg_f, kSchedulesAgreeF64) << batch;
        }
        if (first[i].reference_nll) {
          EXPECT_NEAR(scores[i].reference_nll.value(), *first[i].reference_nll, kSchedulesAgreeF64) << batch;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GptScore,
                         testing::Values(Kind::kLlama, Kind::kGpt2, Kind::kArmt, Kind::kRmt, Kind::kHybrid));

TEST(GptScores, EachTextIsComputedOnce) {
  const std::unique_ptr<Model> model = model_of(Kind::kLlama);
  std::vector<ScoreLine> lines = some_lines();
  GptScoreOptions options;
  const GptScores once = gpt_scores(*model, tokenizer(), lines, kAspects, options);
  // Lines 1 and 5 are each other's reverse: what is said there is asked back here.
  EXPECT_EQ(once.texts, 3 * (2 + 2 * 2 + 2 * 2) + 1 + 1 + 1 + 2);
  const std::vector<ScoreLine> same = some_lines();
  lines.insert(lines.end(), same.begin(), same.end());
  const GptScores twice = gpt_scores(*model, tokenizer(), lines, kAspects, options);
  EXPECT_EQ(twice.texts, once.texts);
  ASSERT_EQ(twice.lines.size(), lines.size());
  EXPECT_EQ(twice.lines[6].aspects[0]->avg_f, twice.lines[0].aspects[0]->avg_f);
  EXPECT_EQ(once.lines[0].aspects[0]->ref_hypo, once.lines[4].aspects[0]->hypo_ref);
}

TEST(GptScores, AfterAStopTheFirstLinesAreWhole) {
  const std::unique_ptr<Model> model = model_of(Kind::kLlama, DType::kF32);
  std::vector<ScoreLine> lines;
  for (int i = 0; i < 40; ++i) {
    for (ScoreLine line : some_lines()) {
      line.hypothesis += line.hypothesis == " \n" ? "" : " " + std::to_string(i);
      lines.push_back(std::move(line));
    }
  }
  GptScoreOptions options;
  const GptScores all = gpt_scores(*model, tokenizer(), lines, kAspects, options);
  ASSERT_EQ(all.lines.size(), lines.size());
  std::int64_t heard = -1;
  options.progress = [&](std::int64_t done, std::int64_t texts) {
    EXPECT_EQ(texts, all.texts);
    EXPECT_GT(done, heard);
    heard = done;
    return done < texts / 2;
  };
  const GptScores some = gpt_scores(*model, tokenizer(), lines, kAspects, options);
  EXPECT_LT(heard, all.texts);
  EXPECT_GT(some.lines.size(), lines.size() / 4);
  EXPECT_LT(some.lines.size(), lines.size() * 3 / 4);
  options.progress = [](std::int64_t done, std::int64_t) { return done > 0; };
  EXPECT_TRUE(gpt_scores(*model, tokenizer(), lines, kAspects, options).lines.empty());
  for (std::size_t i = 0; i < some.lines.size(); ++i) {
    EXPECT_EQ(some.lines[i].aspects[0].has_value(), all.lines[i].aspects[0].has_value());
    if (!some.lines[i].aspects[0]) continue;
    EXPECT_EQ(some.lines[i].aspects[0]->avg_f, all.lines[i].aspects[0]->avg_f) << i;
  }
}

TEST(GptScores, SourcesTooLongForTheModelLoseTheirBeginning) {
  const std::unique_ptr<Model> model = model_of(Kind::kGpt2);
  EXPECT_EQ(longest_text(*model), 64);
  EXPECT_EQ(longest_text(*model_of(Kind::kArmt)), 0);
  std::string source;
  for (int i = 0; i < 40; ++i) source += "Mary went to the office. ";
  GptScoreOptions options;
  options.max_tokens = 64;
  const GptScores scores = gpt_scores(*model, tokenizer(), {{"a:1", "1", "a", source, "office", {"the office"}, ""}},
                                      {kAspects[0]}, options);
  EXPECT_EQ(scores.cut_sources, 1);
  const LabelledText text = continued_text(tokenizer(), source, "the office", 64, true).text;
  EXPECT_EQ(text.ids.size(), 64u);
  EXPECT_NEAR(scores.lines[0].reference_nll.value(), -mean_by_logits(*model, text), kSchedulesAgreeF64);
}

TEST(GptScores, WhatIsNotFiniteIsRefused) {
  const std::unique_ptr<Model> model = model_of(Kind::kLlama, DType::kF32);
  for (const PublishedTensor& tensor : model->parameters().published()) {
    if (tensor.name != "model.norm.weight") continue;
    tensor.write(Stream{}, Tensor::from<double>({8}, std::vector<double>(8, std::numeric_limits<double>::infinity())));
  }
  EXPECT_ERROR(gpt_scores(*model, tokenizer(), some_lines(), kAspects, {}), NotFinite, "is not finite (f32)");
}

TEST(Likelihoods, LabelsNeedATokenBeforeThem) {
  const std::unique_ptr<Model> model = model_of(Kind::kLlama);
  const auto means =
      mean_log_likelihoods(*model, {{{1, 2, 3}, {}}, {{4}, {}}, {{1, 2, 3}, {7}}}, 2, Schedule::kDiagonal);
  ASSERT_EQ(means.size(), 3u);
  EXPECT_FALSE(means[0] || means[1]);
  EXPECT_NEAR(means[2].value(), mean_by_logits(*model, {{1, 2, 3}, {7}}), kSchedulesAgreeF64);
  EXPECT_ERROR(mean_log_likelihoods(*model, {{{1}, {2}}}, 2, Schedule::kDiagonal), Error,
               "text 0 has 1 tokens and 1 labels");
  EXPECT_ERROR(mean_log_likelihoods(*model, {}, 0, Schedule::kDiagonal), Error, "batch_size is 0");
  EXPECT_TRUE(mean_log_likelihoods(*model, {}, 1, Schedule::kDiagonal).empty());
}

}  // namespace
}  // namespace wt
