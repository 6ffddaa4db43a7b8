#include "data/associative_retrieval.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <sstream>

#include "tests/support/expect_error.h"

namespace wt {
namespace {

// The pairs of a sample and the key asked for, read back from its text alone.
struct Read {
  std::vector<std::pair<std::string, std::string>> pairs;
  std::string asked;
};
Read read(const RetrievalSampler& sampler, const RetrievalSample& sample) {
  std::vector<std::int32_t> ids(sample.tokens.begin(), sample.tokens.begin() + sample.prompt_size);
  const std::string text = sampler.tokenizer().decode(ids, /*skip_special_tokens=*/true);
  const std::size_t question = text.find('?');
  Read out;
  out.asked = text.substr(question + 1);
  std::istringstream pairs(text.substr(0, question));
  for (std::string pair; std::getline(pairs, pair, ',');) {
    out.pairs.emplace_back(pair.substr(0, pair.find(':')), pair.substr(pair.find(':') + 1));
  }
  return out;
}

std::string last_value(const Read& sample) {
  std::string value;
  for (const auto& [key, written] : sample.pairs) {
    if (key == sample.asked) value = written;
  }
  return value;
}

TEST(AssociativeRetrieval, TextAndLossOfASample) {
  const RetrievalSampler sampler({}, 3, 0, 1, Split::kTrain);
  const RetrievalSample sample = sampler.sample(0);
  // Three pairs "kk:v,", "?kk", <|gen|>, the value, end-of-text.
  ASSERT_EQ(sample.tokens.size(), 3u * 5 + 3 + 1 + 1 + 1);
  EXPECT_EQ(sample.prompt_size, 19);
  EXPECT_EQ(sample.tokens[18], sampler.tokenizer().require_id("<|gen|>"));
  EXPECT_EQ(sample.tokens.back(), sampler.end_id());
  std::vector<std::uint8_t> mask(sample.tokens.size(), 0);
  mask[18] = mask[19] = 1;
  EXPECT_EQ(sample.mask, mask);
  const Read text = read(sampler, sample);
  EXPECT_EQ(text.pairs.size(), 3u);
  EXPECT_EQ(text.asked, sample.question);
  EXPECT_EQ(sampler.tokenizer().decode({&sample.tokens[19], 1}), sample.answer);
}

TEST(AssociativeRetrieval, TheLastValueOfTheKeyIsTheAnswer) {
  for (const bool rewrite : {false, true}) {
    RetrievalOptions options;
    options.rewrite = rewrite;
    options.key_length = 1;
    options.key_alphabet = "abcdefgh";
    options.value_length = 3;
    const std::int64_t pairs = rewrite ? 20 : 8;
    const RetrievalSampler sampler(options, pairs, 0, 7, Split::kTrain);
    int rewritten = 0;
    for (std::uint64_t i = 0; i < 300; ++i) {
      const RetrievalSample sample = sampler.sample(i);
      const Read text = read(sampler, sample);
      ASSERT_EQ(static_cast<std::int64_t>(text.pairs.size()), pairs);
      EXPECT_EQ(sample.answer, last_value(text));
      EXPECT_EQ(sample.answer.size(), 3u);
      std::set<std::string> keys, values;
      for (const auto& [key, value] : text.pairs) {
        keys.insert(key);
        if (key == text.asked) values.insert(value);
      }
      EXPECT_EQ(keys.size() == 8u || rewrite, true);
      rewritten += values.size() > 1 ? 1 : 0;
    }
    // Of 20 pairs over eight keys, a key that occurs does so once with probability 0.21.
    EXPECT_GT(rewritten, rewrite ? 200 : -1);
    EXPECT_LT(rewritten, rewrite ? 280 : 1);
  }
}

TEST(AssociativeRetrieval, KeysPlacesAndValuesAreDrawnEvenly) {
  RetrievalOptions options;
  options.key_length = 1;
  options.key_alphabet = "wxyz";
  options.value_alphabet = "01";
  const RetrievalSampler sampler(options, 4, 0, 3, Split::kTrain);
  std::map<std::string, int> first, values;
  std::map<std::size_t, int> places;
  constexpr int kSamples = 4000;
  for (std::uint64_t i = 0; i < kSamples; ++i) {
    const RetrievalSample sample = sampler.sample(i);
    const Read text = read(sampler, sample);
    ++first[text.pairs[0].first];
    ++values[sample.answer];
    for (std::size_t at = 0; at < 4; ++at) places[at] += text.pairs[at].first == text.asked ? 1 : 0;
  }
  // Five standard deviations: 137 of a quarter, 158 of a half.
  for (const std::string key : {"w", "x", "y", "z"}) EXPECT_NEAR(first[key], kSamples / 4, 137) << key;
  for (std::size_t at = 0; at < 4; ++at) EXPECT_NEAR(places[at], kSamples / 4, 137) << at;
  EXPECT_NEAR(values["0"], kSamples / 2, 158);
}

TEST(AssociativeRetrieval, PairsFillSegmentsOfTheirOwn) {
  RetrievalOptions options;
  options.pairs_per_segment = 2;
  const RetrievalSampler sampler(options, 5, 12, 1, Split::kTrain), tight(options, 5, 0, 1, Split::kTrain);
  const RetrievalSample sample = sampler.sample(4);
  const std::int32_t pad = sampler.tokenizer().require_id("<|pad|>"), mark = sampler.tokenizer().require_id("?");
  // Two pairs, two pairs, one pair, the question.
  ASSERT_EQ(sample.tokens.size(), 3u * 12 + 6);
  EXPECT_EQ(sample.tokens[36], mark);
  for (const std::size_t at : {10u, 11u, 22u, 23u, 29u, 35u}) EXPECT_EQ(sample.tokens[at], pad) << at;
  for (const std::size_t at : {0u, 9u, 12u, 21u, 24u, 28u}) EXPECT_NE(sample.tokens[at], pad) << at;
  // The same sample, whatever fills it up.
  EXPECT_EQ(read(sampler, sample).pairs, read(tight, tight.sample(4)).pairs);
  EXPECT_EQ(sample.answer, tight.sample(4).answer);
}

TEST(AssociativeRetrieval, IsAFunctionOfSeedSplitAndIndex) {
  const RetrievalSampler one({}, 10, 0, 1, Split::kTrain), same({}, 10, 0, 1, Split::kTrain),
      seed({}, 10, 0, 2, Split::kTrain), test({}, 10, 0, 1, Split::kTest);
  for (const std::uint64_t i : {5u, 0u, 1000000u}) {
    EXPECT_EQ(one.sample(i).tokens, same.sample(i).tokens);
    EXPECT_NE(one.sample(i).tokens, seed.sample(i).tokens);
    EXPECT_NE(one.sample(i).tokens, test.sample(i).tokens);
    EXPECT_NE(one.sample(i).tokens, one.sample(i + 1).tokens);
    // Not the values alone: the keys differ too.
    EXPECT_NE(read(one, one.sample(i)).pairs[0].first + read(one, one.sample(i)).pairs[1].first,
              read(one, one.sample(i + 1)).pairs[0].first + read(one, one.sample(i + 1)).pairs[1].first);
  }
}

TEST(AssociativeRetrieval, VocabularyIsTheAlphabets) {
  RetrievalOptions options;
  options.key_alphabet = "ab\"\\";
  options.value_alphabet = "b7";
  const Tokenizer tokenizer = retrieval_tokenizer(options);
  EXPECT_EQ(tokenizer.vocab_size(), 3 + 3 + 5);
  EXPECT_EQ(tokenizer.require_id("<|endoftext|>"), 0);
  EXPECT_EQ(tokenizer.encode_plain(":,?ab\"\\7"), (std::vector<std::int32_t>{3, 4, 5, 6, 7, 8, 9, 10}));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode_plain("a\\:7,")), "a\\:7,");
  EXPECT_EQ(tokenizer.fingerprint(), Tokenizer::from_json(retrieval_tokenizer_json(options), "x").fingerprint());
}

TEST(AssociativeRetrieval, HundredsOfPairsAndLongKeys) {
  RetrievalOptions options;
  options.key_length = 15;
  EXPECT_EQ(options.num_keys(), std::uint64_t{1} << 60);
  const RetrievalSampler sampler(options, 200, 0, 1, Split::kTest);
  const Read text = read(sampler, sampler.sample(9));
  std::set<std::string> keys;
  for (const auto& [key, value] : text.pairs) keys.insert(key);
  EXPECT_EQ(keys.size(), 200u);
  EXPECT_EQ(text.asked.size(), 15u);
  // As many pairs as keys.
  EXPECT_EQ(read(sampler, RetrievalSampler({}, 256, 0, 1, Split::kTest).sample(0)).pairs.size(), 256u);
}

TEST(AssociativeRetrieval, Errors) {
  const auto make = [](const RetrievalOptions& options, std::int64_t pairs, std::int64_t segment) {
    RetrievalSampler(options, pairs, segment, 1, Split::kTrain);
  };
  EXPECT_ERROR(make({}, 257, 0), UsageError, "257 pairs with different keys, but there are only 256 keys");
  EXPECT_NO_THROW(make({.rewrite = true}, 257, 0));
  EXPECT_ERROR(make({}, 0, 0), UsageError, "pairs: is 0");
  EXPECT_ERROR(make({.pairs_per_segment = 3}, 3, 14), UsageError, "3 pairs are 15 tokens, the model's segment has 14");
  EXPECT_ERROR(make({}, 3, 5), UsageError, "question and answer are 6 tokens, the model's segment has 5");
  EXPECT_ERROR(make({.key_alphabet = "a"}, 1, 0), UsageError, "key_alphabet: has 1 symbols, expected at least 2");
  EXPECT_ERROR(make({.key_alphabet = "aba"}, 1, 0), UsageError, "has a twice");
  EXPECT_ERROR(make({.value_alphabet = "a:"}, 1, 0), UsageError, "value_alphabet: 'a:': a symbol is a printable");
  EXPECT_ERROR(make({.value_alphabet = "a\xC3\xA9"}, 1, 0), UsageError, "printable ASCII");
  EXPECT_ERROR(make({.key_length = 16}, 1, 0), UsageError, "key_length: makes more than 2^60 keys");
  EXPECT_ERROR(make({.key_length = 0}, 1, 0), UsageError, "key_length: is below 1");
}

}  // namespace
}  // namespace wt
