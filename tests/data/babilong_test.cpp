#include "data/babilong.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include "tests/data/babi_reader.h"
#include "tests/data/data_test_support.h"
#include "tests/support/books.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

using test::shipped_tokenizer;

// Four books of 300 sentences; each sentence names its book and number, so that its place is known from its text.
std::shared_ptr<const BookText> books() {
  static const std::shared_ptr<const BookText> text = [] {
    test::BookBuilder out(shipped_tokenizer().vocab_size());
    RandomStream random(1, random_stream(RandomPurpose::kTest, 20));
    for (int book = 0; book < 4; ++book) {
      out.begin_book(cat("book", book));
      for (int sentence = 0; sentence < 300; ++sentence) {
        std::string words = cat(" #", book, ".", sentence, ":");
        for (std::uint64_t n = random.below(20); n > 0; --n) words += " river";
        out.add_sentence(shipped_tokenizer().encode_plain(words + "."));
      }
    }
    return out.build();
  }();
  return text;
}

BabilongSampler sampler(const BabilongConfig& config, Split split = Split::kTrain, std::uint64_t seed = 3) {
  return BabilongSampler(config, shipped_tokenizer(), books(), seed, split);
}

std::string text_of(const std::vector<std::int32_t>& tokens, std::int64_t begin, std::int64_t end) {
  return shipped_tokenizer().decode(
      std::span(tokens).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
}

// Every stretch of the mask, as "<|gen|> office" -> the labels it selects.
std::vector<std::string> labels_of(const BabilongSample& sample) {
  std::vector<std::string> labels;
  for (std::size_t t = 0; t < sample.mask.size(); ++t) {
    if (!sample.mask[t]) continue;
    if (t == 0 || !sample.mask[t - 1]) labels.emplace_back();
    labels.back() += shipped_tokenizer().piece(sample.tokens.at(t + 1));
  }
  return labels;
}

// (book, sentence) of every background sentence, whole ones only.
std::vector<std::pair<int, int>> background_of(const BabilongSample& sample) {
  const std::string text = text_of(sample.tokens, 0, sample.context_size);
  std::vector<std::pair<int, int>> found;
  for (std::size_t at = text.find('#'); at != std::string::npos; at = text.find('#', at + 1)) {
    int book = 0, sentence = 0;
    char colon = 0;
    if (std::sscanf(text.c_str() + at, "#%d.%d%c", &book, &sentence, &colon) == 3 && colon == ':') {
      found.emplace_back(book, sentence);
    }
  }
  return found;
}

TEST(Babilong, TotalSizeIsExactAndTheOrderIsRight) {
  BabilongConfig config;
  config.sample_sizes = {256};
  config.segment_size = 100;
  const BabilongSampler s = sampler(config);
  for (std::uint64_t i = 0; i < 200; ++i) {
    const BabilongSample sample = s.sample(i);
    ASSERT_EQ(sample.tokens.size(), 256u);
    ASSERT_EQ(sample.mask.size(), 256u);
    EXPECT_EQ(sample.num_segments, 3);
    const std::string question = sample.question.substr(0, sample.question.size() - 1);  // the blank behind the "?"
    EXPECT_EQ(text_of(sample.tokens, sample.context_size, 256),
              cat(" ", question, "<|gen|> ", sample.answer, "<|endoftext|>"));
    EXPECT_EQ(sample.tokens[static_cast<std::size_t>(sample.prompt_size) - 1], s.separator_id());
    EXPECT_EQ(sample.tokens.back(), s.end_id());
    EXPECT_EQ(labels_of(sample), (std::vector<std::string>{cat(" ", sample.answer, "<|endoftext|>")}));
    EXPECT_EQ(std::accumulate(sample.mask.begin(), sample.mask.end(), 0), 2);  // one token of answer, and the end
    EXPECT_EQ(sample.mask[static_cast<std::size_t>(sample.prompt_size) - 1], 1);
    ASSERT_EQ(sample.fact_positions.size(), sample.facts.size());
    for (std::size_t f = 0; f < sample.facts.size(); ++f) {
      const auto at = static_cast<std::size_t>(sample.fact_positions[f]);
      const std::vector<std::int32_t> fact = shipped_tokenizer().encode(" " + sample.facts[f]);
      EXPECT_TRUE(std::equal(fact.begin(), fact.end(), sample.tokens.begin() + static_cast<std::ptrdiff_t>(at)));
      if (f > 0) {
        EXPECT_GT(sample.fact_positions[f], sample.fact_positions[f - 1]);
      }
    }
    test::Reader reader;
    for (const std::string& fact : sample.facts) reader.read(test::read_fact(fact));
    EXPECT_EQ(test::answer_of("qa1", sample.question, reader), sample.answer);
  }
}

TEST(Babilong, PublishedSizesAndStyle) {
  BabilongConfig config;
  config.sample_sizes = {256};
  config.size_rule = SizeRule::kContext;
  config.question_style = QuestionStyle::kPublished;
  const BabilongSampler s = sampler(config);
  for (std::uint64_t i = 0; i < 50; ++i) {
    const BabilongSample sample = s.sample(i);
    EXPECT_EQ(sample.context_size, 256);
    const auto end = static_cast<std::int64_t>(sample.tokens.size());
    EXPECT_EQ(text_of(sample.tokens, 256, end), cat(sample.question, "<|gen|>", sample.answer, "<|endoftext|>"));
    const auto answer_tokens = static_cast<int>(shipped_tokenizer().encode(sample.answer).size());
    EXPECT_EQ(std::accumulate(sample.mask.begin(), sample.mask.end(), 0), answer_tokens + 1);
  }
}

TEST(Babilong, BackgroundRunsOnAndKeepsToTheSentenceLengths) {
  BabilongConfig config;
  config.sample_sizes = {600};
  config.min_sentence_len = 12;
  config.max_sentence_len = 20;
  const BabilongSampler s = sampler(config);
  std::set<int> seen_books;
  for (std::uint64_t i = 0; i < 100; ++i) {
    const auto background = background_of(s.sample(i));
    ASSERT_GE(background.size(), 10u);
    int breaks = 0;
    for (std::size_t j = 0; j < background.size(); ++j) {
      const auto [book, number] = background[j];
      seen_books.insert(book);
      if (j + 1 < background.size()) {  // the last may be cut
        const std::int64_t length = books()->sentence_length(books()->first_sentence(book) + number);
        EXPECT_GE(length, 12);
        EXPECT_LE(length, 20);
      }
      if (j == 0) continue;
      // The next wanted sentence of the same book, unless the book came to its end.
      if (background[j].first != background[j - 1].first || background[j].second <= background[j - 1].second) {
        ++breaks;
        EXPECT_GT(background[j - 1].second, 250);
        continue;
      }
      for (int skipped = background[j - 1].second + 1; skipped < number; ++skipped) {
        const std::int64_t length = books()->sentence_length(books()->first_sentence(book) + skipped);
        EXPECT_TRUE(length < 12 || length > 20);
      }
    }
    EXPECT_LE(breaks, 2);
  }
  EXPECT_EQ(seen_books.size(), 4u);
}

TEST(Babilong, HeldOutTextIsNeverTrainedOn) {
  BabilongConfig config;
  config.sample_sizes = {400};
  config.held_out_books = 0.2;  // sentences 240 ... 299 of each
  for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest}) {
    const BabilongSampler s = sampler(config, split);
    int seen = 0;
    for (std::uint64_t i = 0; i < 200; ++i) {
      for (const auto& [book, sentence] : background_of(s.sample(i))) {
        EXPECT_EQ(sentence >= 240, split != Split::kTrain) << sentence;
        ++seen;
      }
    }
    EXPECT_GT(seen, 1000);
  }
}

// Books of so many sentences each, of ten tokens, the first of them the book's number.
std::shared_ptr<const BookText> numbered_books(const std::vector<int>& lengths) {
  test::BookBuilder out(shipped_tokenizer().vocab_size());
  for (std::size_t book = 0; book < lengths.size(); ++book) {
    out.begin_book(cat("book", book));
    std::vector<std::int32_t> tokens(10, shipped_tokenizer().encode_plain(" river").front());
    tokens.front() = static_cast<std::int32_t>(100 + book);
    for (int sentence = 0; sentence < lengths[book]; ++sentence) out.add_sentence(tokens);
  }
  return out.build();
}

// Samples in which a book stands.
std::map<int, int> samples_by_book(const BabilongConfig& config, const std::shared_ptr<const BookText>& text,
                                   Split split, std::uint64_t count) {
  const BabilongSampler s(config, shipped_tokenizer(), text, 3, split);
  const std::int32_t river = shipped_tokenizer().encode_plain(" river").front();
  std::map<int, int> seen;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::vector<std::int32_t> tokens = s.sample(i).tokens;
    std::set<int> books;
    for (std::size_t t = 0; t + 1 < tokens.size(); ++t) {
      if (tokens[t + 1] == river && tokens[t] != river) books.insert(tokens[t] - 100);
    }
    for (const int book : books) ++seen[book];
  }
  return seen;
}

TEST(Babilong, ALongBookStandsInMoreSamplesThanAShortOne) {
  const auto text = numbered_books({2000, 40});
  BabilongConfig config;
  config.sample_sizes = {150};
  std::map<int, int> seen = samples_by_book(config, text, Split::kTrain, 2000);
  EXPECT_GT(seen[0], 1950);
  EXPECT_GT(seen[1], 5);
  EXPECT_LT(seen[1], 100);  // 2 % of the text, and where a sample needs another book to go on
  config.background_rule = BackgroundRule::kBooks;
  seen = samples_by_book(config, text, Split::kTrain, 2000);
  EXPECT_NEAR(seen[1], 1000, 150);
}

TEST(Babilong, OfManyShortTextsWholeOnesAreHeldOut) {
  const auto text = numbered_books(std::vector<int>(500, 3));
  BabilongConfig config;
  config.sample_sizes = {150};
  std::map<Split, std::set<int>> seen;
  for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest}) {
    for (const auto& [book, count] : samples_by_book(config, text, split, 2000)) seen[split].insert(book);
  }
  EXPECT_EQ(seen[Split::kTrain].size(), 450u);
  EXPECT_EQ(seen[Split::kValidation].size(), 50u);
  EXPECT_EQ(seen[Split::kTest], seen[Split::kValidation]);
  for (const int book : seen[Split::kValidation]) EXPECT_EQ(seen[Split::kTrain].count(book), 0u) << book;
}

TEST(Babilong, TextsOfOneSentenceAreRead) {
  BabilongConfig config;
  config.sample_sizes = {150};
  EXPECT_EQ(samples_by_book(config, numbered_books(std::vector<int>(50, 1)), Split::kTrain, 500).size(), 45u);
  EXPECT_ERROR(samples_by_book(config, numbered_books({1, 1}), Split::kValidation, 1), Error,
               "no sentence of 10 tokens or more (data.min_sentence_len, --min-sentence-len) in the validation part");
}

TEST(Babilong, FactsFallEvenlyIntoTheGaps) {
  BabilongConfig config;
  config.sample_sizes = {1000};
  const BabilongSampler s = sampler(config);
  // Where in the context the facts stand, in tenths: even but for the facts' own length.
  std::vector<int> tenths(10);
  int together = 0, total = 0;
  for (std::uint64_t i = 0; i < 1500; ++i) {
    const BabilongSample sample = s.sample(i);
    for (std::size_t f = 0; f < sample.facts.size(); ++f) {
      ++tenths[static_cast<std::size_t>(10 * sample.fact_positions[f] / sample.context_size)];
      ++total;
      if (f == 0) continue;
      const auto length = static_cast<std::int64_t>(shipped_tokenizer().encode(" " + sample.facts[f - 1]).size());
      together += sample.fact_positions[f] == sample.fact_positions[f - 1] + length;
    }
  }
  for (const int count : tenths) EXPECT_NEAR(count, total / 10.0, 0.12 * total / 10.0);
  EXPECT_GT(together, 100);  // with replacement: two facts may share a gap
}

TEST(Babilong, FactsKeepToTheirWindow) {
  BabilongConfig config;
  config.sample_sizes = {1000};
  config.task_start_pct = 0.4;
  config.task_end_pct = 0.7;
  const BabilongSampler s = sampler(config);
  for (std::uint64_t i = 0; i < 200; ++i) {
    const BabilongSample sample = s.sample(i);
    EXPECT_GE(sample.fact_positions.front(), 400);
    EXPECT_LT(sample.fact_positions.back(), 700);
  }
  config.task_start_pct = 0.5;
  config.task_end_pct = 0.5001;  // no room at all: the first gap from there on
  EXPECT_GE(sampler(config).sample(0).fact_positions.front(), 500);
}

TEST(Babilong, SizesAreDrawnFromTheList) {
  BabilongConfig config;
  config.sample_sizes = vary_n_segments(128, 4);
  EXPECT_EQ(config.sample_sizes, (std::vector<std::int64_t>{128, 256, 384, 512}));
  config.max_n_facts = 6;
  std::map<std::size_t, int> counts;
  const BabilongSampler even = sampler(config);
  for (std::uint64_t i = 0; i < 2000; ++i) ++counts[even.sample(i).tokens.size()];
  for (const std::size_t size : {128u, 256u, 384u, 512u}) EXPECT_NEAR(counts[size], 500, 80) << size;
  config.mixed_length_ratio = 0.6;
  counts.clear();
  const BabilongSampler mixed = sampler(config);
  for (std::uint64_t i = 0; i < 2000; ++i) ++counts[mixed.sample(i).tokens.size()];
  EXPECT_NEAR(counts[512], 2000 * (0.6 + 0.4 / 4), 85);
}

TEST(Babilong, WithoutBackground) {
  BabilongConfig config;
  config.sample_sizes = {0};
  const BabilongSampler bare(config, shipped_tokenizer(), nullptr, 3, Split::kTrain);
  const BabilongSample sample = bare.sample(0);
  std::string facts;
  for (const std::string& fact : sample.facts) facts += " " + fact;
  EXPECT_EQ(text_of(sample.tokens, 0, sample.context_size), facts);
  config.sample_sizes = {512};
  config.no_background_rate = 0.3;
  const BabilongSampler some = sampler(config);
  int without = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) without += background_of(some.sample(i)).empty();
  EXPECT_NEAR(without, 300, 60);
}

TEST(Babilong, InlineQuestionsFollowTheirFact) {
  BabilongConfig config;
  config.sample_sizes = {512};
  config.inline_question_rate = 0.7;
  const BabilongSampler s = sampler(config);
  int asked = 0, facts = 0;
  for (std::uint64_t i = 0; i < 300; ++i) {
    const BabilongSample sample = s.sample(i);
    EXPECT_EQ(sample.tokens.size(), 512u);
    facts += static_cast<int>(sample.facts.size());
    asked += sample.num_inline_questions;
    const std::vector<std::string> labels = labels_of(sample);
    ASSERT_EQ(labels.size(), static_cast<std::size_t>(sample.num_inline_questions) + 1);
    // Walk through the facts: what follows one is its question, with the answer a reader would give.
    test::Reader reader;
    std::size_t question = 0;
    for (std::size_t f = 0; f < sample.facts.size(); ++f) {
      reader.read(test::read_fact(sample.facts[f]));
      const std::int64_t at = sample.fact_positions[f];
      const std::string rest = text_of(sample.tokens, at, sample.context_size).substr(sample.facts[f].size() + 1);
      if (!rest.starts_with(" Where is ")) continue;
      const std::string person = rest.substr(10, rest.find('?') - 10);
      const std::string place = reader.place_of(person);
      EXPECT_FALSE(place.empty()) << person << " is not known yet";
      EXPECT_TRUE(rest.starts_with(cat(" Where is ", person, "?<|gen|> ", place, "<|endoftext|>"))) << rest;
      EXPECT_EQ(labels[question++], cat(" ", place, "<|endoftext|>"));
    }
    EXPECT_EQ(question, static_cast<std::size_t>(sample.num_inline_questions));
  }
  EXPECT_NEAR(asked, 0.7 * facts, 0.05 * facts);
}

TEST(Babilong, EveryoneIsAskedAtTheEnd) {
  BabilongConfig config;
  config.sample_sizes = {512};
  config.ask_everyone = true;
  const BabilongSampler s = sampler(config);
  std::set<std::string> first_persons;
  for (std::uint64_t i = 0; i < 100; ++i) {
    const BabilongSample sample = s.sample(i);
    EXPECT_EQ(sample.tokens.size(), 512u);
    test::Reader reader;
    std::set<std::string> persons, asked;
    for (const std::string& fact : sample.facts) {
      reader.read(test::read_fact(fact));
      persons.insert(test::words_of(fact)[0]);
    }
    // The context ends with nothing but these questions.
    const std::string text = text_of(sample.tokens, 0, sample.context_size);
    std::size_t at = text.find(" Where is ");
    first_persons.insert(text.substr(at + 10, text.find('?', at) - at - 10));
    while (at < text.size()) {
      ASSERT_EQ(text.substr(at, 10), " Where is ");
      const std::string person = text.substr(at + 10, text.find('?', at) - at - 10);
      const std::string whole = cat(" Where is ", person, "?<|gen|> ", reader.place_of(person), "<|endoftext|>");
      EXPECT_EQ(text.substr(at, whole.size()), whole);
      EXPECT_TRUE(asked.insert(person).second);
      at += whole.size();
    }
    EXPECT_EQ(asked, persons);
    EXPECT_EQ(labels_of(sample).size(), persons.size() + 1);
  }
  EXPECT_EQ(first_persons.size(), 4u);
}

TEST(Babilong, QuestionsWithoutRoomAreLeftOut) {
  BabilongConfig config;
  config.sample_sizes = {64};
  config.inline_question_rate = 1;
  config.ask_everyone = true;
  const BabilongSampler s = sampler(config);
  std::set<int> numbers;
  for (std::uint64_t i = 0; i < 300; ++i) {
    const BabilongSample sample = s.sample(i);
    EXPECT_LE(sample.tokens.size(), 64u);
    EXPECT_EQ(labels_of(sample).size(), static_cast<std::size_t>(sample.num_inline_questions) + 1);
    numbers.insert(sample.num_inline_questions);
  }
  EXPECT_GT(numbers.size(), 3u);
}

TEST(Babilong, ASampleIsAFunctionOfItsIndexInEveryThread) {
  BabilongConfig config;
  config.inline_question_rate = 0.5;
  config.sample_sizes = {128, 512};
  const BabilongSampler s = sampler(config);
  std::vector<BabilongSample> expected;
  for (std::uint64_t i = 0; i < 200; ++i) expected.push_back(s.sample(i));
  const auto differ = [](const BabilongSample& a, const BabilongSample& b) {
    return a.tokens != b.tokens || a.mask != b.mask || a.fact_positions != b.fact_positions;
  };
  const BabilongSampler copy = sampler(config);  // a new one draws the same
  std::vector<int> wrong(3);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < 200; ++i) {
        const std::size_t j = (i * 7 + t * 50) % 200;
        wrong[t] += differ(copy.sample(j), expected[j]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, (std::vector<int>(3)));
  EXPECT_TRUE(differ(expected[0], expected[1]));
  EXPECT_TRUE(differ(sampler(config, Split::kTest).sample(0), expected[0]));
  EXPECT_TRUE(differ(sampler(config, Split::kTrain, 4).sample(0), expected[0]));
}

TEST(Babilong, RealStoriesComeFromTheirFolder) {
  const TempFolder folder;
  test::put(folder / "qa2_x_test.txt",
            "1 Mary got the milk there.\n2 Mary went to the office.\n3 Where is the milk? \toffice\t1 2\n");
  BabilongConfig config;
  config.stories = {.task = "qa2", .babi = folder.path()};
  config.sample_sizes = {128};
  const BabilongSample sample = sampler(config, Split::kTest).sample(0);
  EXPECT_EQ(sample.answer, "office");
  EXPECT_EQ(sample.facts.size(), 2u);
  config.sample_sizes = {16};
  EXPECT_ERROR(sampler(config, Split::kTest), UnfitStories,
               "none of 1 test samples fits: at most 16 tokens are asked for, they have ");
  config.sample_sizes = {128};
  config.inline_question_rate = 0.1;
  EXPECT_ERROR(sampler(config, Split::kTest), UsageError, "no rule that answers them for qa2, only for qa1");
}

TEST(Babilong, FactsThatInlineQuestionsCannotReadAreNamedBeforeTheFirstSample) {
  const TempFolder folder;
  std::string text;
  for (int i = 0; i < 50; ++i) text += "1 Mary went to the office.\n2 Where is Mary? \toffice\t1\n";
  test::put(folder / "qa1_x_test.txt",
            text + "1 Mary sat down.\n2 Mary went to the hall.\n3 Where is Mary? \thall\t2\n");
  BabilongConfig config;
  config.stories.babi = folder.path();
  EXPECT_EQ(sampler(config, Split::kTest).size(), 51u);  // without such questions any fact will do
  config.max_n_facts = 1;
  config.inline_question_rate = 0.1;
  EXPECT_EQ(sampler(config, Split::kTest).size(), 50u);
  config.max_n_facts = 0;
  EXPECT_ERROR(sampler(config, Split::kTest), Error, "cannot read the fact `Mary sat down.`");
  config.inline_question_rate = 0;
  config.ask_everyone = true;
  EXPECT_ERROR(sampler(config, Split::kTest), Error, "cannot read the fact `Mary sat down.`");
}

TEST(Babilong, ImpossibleSettingsAreNamed) {
  const auto expect = [](const std::function<void(BabilongConfig&)>& change, const std::string& what) {
    BabilongConfig config;
    change(config);
    EXPECT_ERROR(sampler(config), UsageError, what);
  };
  expect([](auto& c) { c.sample_sizes = {}; }, "no sample sizes");
  expect([](auto& c) { c.sample_sizes = {-1}; }, "a sample size of -1");
  expect([](auto& c) { c.mixed_length_ratio = 1.5; }, "mixed_length_ratio is 1.5, expected 0 ... 1");
  expect([](auto& c) { c.inline_question_rate = -0.1; }, "inline_question_rate is -0.1");
  expect([](auto& c) { c.no_background_rate = std::nan(""); }, "no_background_rate is");
  expect([](auto& c) { c.min_sentence_len = 0; }, "min_sentence_len is 0");
  expect([](auto& c) { c.max_sentence_len = 5; }, "max_sentence_len is 5");
  expect([](auto& c) { c.held_out_books = 1; }, "nothing is left to train on");
  expect([](auto& c) { c.task_start_pct = 0.5, c.task_end_pct = 0.5; },
         "task_start_pct and task_end_pct are 0.5 and 0.5");
  expect([](auto& c) { c.min_n_facts = 5, c.max_n_facts = 4; }, "min_facts and max_facts are 5 and 4");
  expect([](auto& c) { c.segment_size = -1; }, "segment_size is -1");
  expect([](auto& c) { c.stories.task = "qa99"; }, "task `qa99`");
  BabilongConfig config;
  config.min_sentence_len = 1000;
  EXPECT_ERROR(sampler(config), Error, "no sentence of 1000 tokens or more");
  config = {};
  EXPECT_ERROR(BabilongSampler(config, shipped_tokenizer(), nullptr, 1, Split::kTrain), UsageError, "no books");
  EXPECT_ERROR(BabilongSampler(config, shipped_tokenizer(), test::BookBuilder(7).build(), 1, Split::kTrain), UsageError,
               "tokenised with 7 tokens");
  config.separator_token = "<nothing>";
  EXPECT_ERROR(sampler(config), Error, "no token \"<nothing>\"");
  config = {};
  config.sample_sizes = {10};
  EXPECT_ERROR(sampler(config), UnfitStories,
               "none of 131072 simulated qa1 samples fits: at most 10 tokens are asked for, they have ");
}

TEST(Babilong, SeparatorAndEndAreFound) {
  const Tokenizer gpt2 = Tokenizer::load(WAVETAPE_SOURCE_DIR "/tests/fixtures/gpt2");
  EXPECT_EQ(gpt2.token(find_separator(gpt2)), "GEN");
  EXPECT_EQ(find_end_token(gpt2), 50256);
  EXPECT_EQ(find_separator(gpt2, "Ġ"), 220);
  EXPECT_EQ(find_separator(shipped_tokenizer()), 1);
  EXPECT_EQ(find_end_token(shipped_tokenizer()), 0);
}

}  // namespace
}  // namespace wt
