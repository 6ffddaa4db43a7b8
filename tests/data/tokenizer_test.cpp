#include "data/tokenizer.h"

#include <algorithm>
#include <array>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/random.h"
#include "core/utf8.h"
#include "data/split_pattern.h"
#include "tests/data/data_test_support.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

using Ids = std::vector<std::int32_t>;
using Json = nlohmann::json;
using test::shipped_tokenizer;

const std::string kGpt2Folder = WAVETAPE_SOURCE_DIR "/tests/fixtures/gpt2";
const std::string kReports = WAVETAPE_SOURCE_DIR "/tests/fixtures/reports";

const Tokenizer& gpt2() {
  static const Tokenizer tokenizer = Tokenizer::load(kGpt2Folder);
  return tokenizer;
}

// A tokenizer.json with the 256 bytes as ids 0 ... 255 in the order of their characters, and what `change` makes of it.
std::string small_json(const std::function<void(Json&)>& change = {}) {
  Json vocab = Json::object();
  std::int32_t id = 0;
  for (char32_t c = 0x21; c < 0x144; ++c) {
    if ((c > 0x7E && c < 0xA1) || c == 0xAD) continue;
    std::string token;
    append_utf8(token, c);
    vocab[token] = id++;
  }
  for (const char* token : {"ab", "abc", "bc", "cd", "abcd", "Ġa"}) vocab[token] = id++;
  Json root = {{"version", "1.0"},
               {"truncation", nullptr},
               {"padding", nullptr},
               {"added_tokens", Json::array()},
               {"normalizer", nullptr},
               {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
               {"post_processor", nullptr},
               {"decoder", {{"type", "ByteLevel"}}},
               {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"b c", "a b", "ab c", "c d", "Ġ a"}}}}};
  if (change) change(root);
  return root.dump();
}

Tokenizer small(const std::function<void(Json&)>& change = {}) {
  return Tokenizer::from_json(small_json(change), "small.json");
}

Json added(std::int32_t id, const std::string& content, bool special, bool normalized = false) {
  return {{"id", id},        {"content", content}, {"single_word", false},    {"lstrip", false},
          {"rstrip", false}, {"special", special}, {"normalized", normalized}};
}

std::vector<std::string> tokens_of(const Tokenizer& tokenizer, std::string_view text,
                                   const EncodeOptions& options = {}) {
  std::vector<std::string> out;
  for (const std::int32_t id : tokenizer.encode(text, options)) out.push_back(tokenizer.token(id));
  return out;
}

std::vector<std::string> pieces_of(const SplitPattern& pattern, std::string_view text) {
  std::vector<std::string> out;
  pattern.split(text, [&](std::string_view piece) { out.emplace_back(piece); });
  return out;
}

using Words = std::vector<std::string>;

TEST(Tokenizer, GivesTheIdsOfThePublishedGpt2Cases) {
  const std::string separator = "\n__ggml_vocab_test__\n";
  const std::string texts = test::slurp(kGpt2Folder + "/cases.inp");
  std::stringstream ids(test::slurp(kGpt2Folder + "/cases.out"));
  int cases = 0;
  for (std::size_t begin = 0; begin <= texts.size(); ++cases) {
    const std::size_t end = std::min(texts.find(separator, begin), texts.size());
    const std::string text = texts.substr(begin, end - begin);
    begin = end + separator.size();
    std::string line;
    std::getline(ids, line);
    Ids expected;
    std::stringstream numbers(line);
    for (std::int32_t id; numbers >> id;) expected.push_back(id);
    EXPECT_EQ(gpt2().encode(text), expected) << text;
    EXPECT_EQ(gpt2().decode(expected), text);
  }
  EXPECT_EQ(cases, 47);
  EXPECT_EQ(gpt2().vocab_size(), 50257);
}

TEST(Tokenizer, ShippedTokenizerHasTheWordsOfTheTasks) {
  const Tokenizer& tokenizer = shipped_tokenizer();
  EXPECT_EQ(tokens_of(tokenizer, " Where is Mary?<|gen|> office<|endoftext|>"),
            (Words{"ĠWhere", "Ġis", "ĠMary", "?", "<|gen|>", "Ġoffice", "<|endoftext|>"}));
  EXPECT_EQ(tokenizer.require_id("<|endoftext|>"), 0);
  EXPECT_TRUE(tokenizer.is_special(0));
  EXPECT_FALSE(tokenizer.is_special(tokenizer.require_id("ĠMary")));
  EXPECT_EQ(tokenizer.files(), (Words{WAVETAPE_SOURCE_DIR "/data/tokenizer/tokenizer.json"}));
}

// Derived by hand from the alternatives of the pattern.
TEST(SplitPattern, Gpt2) {
  const SplitPattern pattern(kGpt2Pattern);
  EXPECT_EQ(pieces_of(pattern, "I've 12345 dogs!!  \n x"), (Words{"I", "'ve", " 12345", " dogs", "!!", "  \n", " x"}));
  EXPECT_EQ(pieces_of(pattern, "HE'S   "), (Words{"HE", "'", "S", "   "}));
  // U+00A0 is white space (a run of it gives back its last character), U+180E is not.
  EXPECT_EQ(pieces_of(pattern, "a\u00a0\u00a0b"), (Words{"a", "\u00a0", "\u00a0", "b"}));
  EXPECT_EQ(pieces_of(pattern, "a \u180eb"), (Words{"a", " \u180e", "b"}));
}

TEST(SplitPattern, Llama3) {
  const SplitPattern pattern(kLlama3Pattern);
  EXPECT_EQ(pieces_of(pattern, "HE'S 1234567 (ok)\r\n\n  x"),
            (Words{"HE", "'S", " ", "123", "456", "7", " (", "ok", ")\r\n\n", " ", " x"}));
  EXPECT_EQ(pieces_of(pattern, "$dog\tcat"), (Words{"$dog", "\tcat"}));
  EXPECT_EQ(pieces_of(pattern, " \n \nend  "), (Words{" \n \n", "end", "  "}));
  EXPECT_EQ(pieces_of(pattern, "日本語。そう"), (Words{"日本語", "。そう"}));
}

TEST(SplitPattern, EmptyMatchesCutAndLoseNothing) {
  EXPECT_EQ(pieces_of(SplitPattern("(?=[A-Z])"), "oneTwoÉThree"), (Words{"one", "TwoÉ", "Three"}));
  EXPECT_EQ(pieces_of(SplitPattern("x*"), "axxb"), (Words{"a", "xx", "b"}));
  EXPECT_TRUE(pieces_of(SplitPattern("x"), "").empty());
  EXPECT_EQ(pieces_of(SplitPattern(R"([]\s]+)"), "a] b"), (Words{"a", "] ", "b"}));
  EXPECT_ERROR(SplitPattern("(ab"), Error, "split pattern `(ab`: a ( without its ) at byte 0 is not supported");
}

TEST(Tokenizer, MergesLowestRankFirstThenLeftmost) {
  // "b c" outranks "a b", so abc is a + bc, which no rule joins, though "ab c" would have.
  EXPECT_EQ(tokens_of(small(), "abc"), (Words{"a", "bc"}));
  EXPECT_EQ(tokens_of(small(), "ab abab"), (Words{"ab", "Ġ", "ab", "ab"}));
  EXPECT_EQ(tokens_of(small(), "bcbcd"), (Words{"bc", "bc", "d"}));
  const auto pairs = [](Json& root) {
    root["model"]["merges"] = Json::array({{"b", "c"}, {"a", "b"}, {"ab", "c"}, {"c", "d"}, {"Ġ", "a"}});
  };
  EXPECT_EQ(small(pairs).fingerprint(), small().fingerprint());
}

TEST(Tokenizer, IgnoreMergesTakesWholePieces) {
  const Tokenizer tokenizer = small([](Json& root) { root["model"]["ignore_merges"] = true; });
  EXPECT_EQ(tokens_of(tokenizer, "abc"), (Words{"abc"}));
  EXPECT_EQ(tokens_of(tokenizer, "abcd"), (Words{"abcd"}));
  EXPECT_EQ(tokens_of(tokenizer, "abcdd"), (Words{"a", "bc", "d", "d"}));
  EXPECT_EQ(tokens_of(tokenizer, "abc abc"), (Words{"abc", "Ġa", "bc"}));
}

TEST(Tokenizer, AddedTokensLongestFirst) {
  const Tokenizer tokenizer = small([](Json& root) {
    root["added_tokens"] = {added(262, "<|be", true), added(263, "<|begin|>", true), added(264, "gin|>x", false, true),
                            added(265, "é ", false, true)};
  });
  EXPECT_EQ(tokens_of(tokenizer, "a<|begin|>b"), (Words{"a", "<|begin|>", "b"}));
  EXPECT_EQ(tokens_of(tokenizer, "<|begin|>x"), (Words{"<|begin|>", "x"}));
  EXPECT_EQ(tokens_of(tokenizer, "<|begin|<|be"), (Words{"<|be", "g", "i", "n", "|", "<|be"}));
  // The second pass sees only what the first has left.
  EXPECT_EQ(tokens_of(tokenizer, "<|begin|>gin|>x"), (Words{"<|begin|>", "gin|>x"}));
  const Ids plain = tokenizer.encode_plain("<|begin|>");
  EXPECT_EQ(plain.size(), 9u);
  EXPECT_EQ(tokenizer.decode(plain), "<|begin|>");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("<|be é x")), "<|be é x");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("a<|begin|>b gin|>x"), /*skip_special_tokens=*/true), "ab gin|>x");
  EXPECT_EQ(tokenizer.vocab_size(), 266);
}

TEST(Tokenizer, PostProcessorAddsTokensOnRequestOnly) {
  const Tokenizer tokenizer = small([](Json& root) {
    root["added_tokens"] = {added(262, "<s>", true), added(263, "</s>", true)};
    root["post_processor"] = Json::parse(R"({"type": "Sequence", "processors": [{"type": "ByteLevel"},
      {"type": "TemplateProcessing",
       "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                  {"SpecialToken": {"id": "</s>", "type_id": 0}}],
       "special_tokens": {"<s>": {"id": "<s>", "ids": [262], "tokens": ["<s>"]},
                          "</s>": {"id": "</s>", "ids": [263], "tokens": ["</s>"]}}}]})");
  });
  EXPECT_EQ(tokens_of(tokenizer, "ab"), (Words{"ab"}));
  EXPECT_EQ(tokens_of(tokenizer, "ab", {.add_special_tokens = true}), (Words{"<s>", "ab", "</s>"}));
}

TEST(Tokenizer, PrefixSpaceAndSplitSequence) {
  const Tokenizer prefixed = small([](Json& root) { root["pre_tokenizer"]["add_prefix_space"] = true; });
  EXPECT_EQ(tokens_of(prefixed, "ab"), (Words{"Ġ", "ab"}));
  EXPECT_EQ(tokens_of(prefixed, " ac"), (Words{"Ġa", "c"}));
  EXPECT_TRUE(prefixed.encode("").empty());
  const Tokenizer llama = small([](Json& root) {
    root["pre_tokenizer"] = {
        {"type", "Sequence"},
        {"pretokenizers",
         {{{"type", "Split"}, {"pattern", {{"Regex", kLlama3Pattern}}}, {"behavior", "Isolated"}, {"invert", false}},
          {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}}}}};
  });
  EXPECT_EQ(tokens_of(llama, " ab's"), (Words{"Ġ", "ab", "'", "s"}));
  EXPECT_NE(llama.fingerprint(), small().fingerprint());
}

TEST(Tokenizer, EveryByteStringComesBack) {
  RandomStream random(7, random_stream(RandomPurpose::kTest, 1));
  const std::vector<std::string> fragments{
      "\xff", "\xc3", "é",  "\xe2\x82",           "€",    "\xed\xa0\x80", "\xf4\x90\x80\x80",
      "🙂", " ",    "\n", std::string(1, '\0'), "Mary", "\xc0\xaf",     "<|endoftext|>"};
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (std::uint64_t n = random.below(12); n > 0; --n) text += fragments[random.below(fragments.size())];
    for (std::uint64_t n = random.below(4); n > 0; --n) text += static_cast<char>(random.below(256));
    for (const Tokenizer* tokenizer : {&gpt2(), &shipped_tokenizer()}) {
      ASSERT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
      ASSERT_EQ(tokenizer->decode(tokenizer->encode_plain(text)), text);
    }
  }
}

TEST(Tokenizer, CutCharactersStayCut) {
  const Ids ids = gpt2().encode("🙂");
  ASSERT_GE(ids.size(), 2u);
  std::string joined;
  for (const std::int32_t id : ids) joined += gpt2().piece(id);
  EXPECT_EQ(joined, "🙂");
  EXPECT_EQ(utf8_length_at(gpt2().piece(ids.front()), 0), 0u);
}

TEST(Tokenizer, LongWordsAreNotQuadratic) {
  // A quadratic merge would need 10^12 steps for the longer one.
  for (const std::size_t length : {std::size_t{1000}, std::size_t{1000000}}) {
    const std::string word(length, 'a');
    const Ids ids = gpt2().encode(word);
    EXPECT_EQ(gpt2().decode(ids), word);
    EXPECT_LE(ids.size(), length / 4);
  }
}

TEST(Tokenizer, SameIdsFromManyThreads) {
  const Tokenizer tokenizer = Tokenizer::load(WAVETAPE_SOURCE_DIR "/data/tokenizer/tokenizer.json");
  std::vector<std::string> words;
  words.reserve(20000);
  for (int i = 0; i < 20000; ++i) words.push_back(cat(" word", i % 7000, "x"));
  std::vector<Ids> expected;
  expected.reserve(words.size());
  for (const std::string& word : words) expected.push_back(shipped_tokenizer().encode(word));
  std::array<int, 4> wrong{};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < words.size(); ++i) {
        const std::size_t j = (i * (t + 1)) % words.size();
        wrong[t] += tokenizer.encode(words[j]) != expected[j];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, (std::array<int, 4>{}));
}

TEST(Tokenizer, IdsWithoutTokenAreEmptyText) {
  EXPECT_EQ(gpt2().decode(Ids{72, 50257, 2000000000, 72}), "ii");
  EXPECT_EQ(gpt2().piece(50257), "");
  EXPECT_FALSE(gpt2().is_special(50257));
  EXPECT_ERROR(gpt2().token(50257), Error, "vocab.json: id 50257 is no token, expected one of 0 ... 50256");
  EXPECT_ERROR(gpt2().decode(Ids{-1}), Error, "id -1");
  EXPECT_ERROR(gpt2().require_id("nosuchtoken"), Error, "\"nosuchtoken\"");
  EXPECT_FALSE(gpt2().id_of("nosuchtoken").has_value());
  const Tokenizer hole = small([](Json& root) { root["added_tokens"] = Json::array({added(300, "<x>", true)}); });
  EXPECT_EQ(hole.vocab_size(), 301);
  EXPECT_EQ(hole.decode(Ids{299, 300}), "<x>");
}

TEST(Tokenizer, MissingBytesAreAnErrorNotADrop) {
  const Tokenizer tokenizer = small([](Json& root) { root["model"]["vocab"].erase("z"); });
  EXPECT_EQ(tokens_of(tokenizer, "y"), (Words{"y"}));
  EXPECT_ERROR(tokenizer.encode("xyz"), Error, "no token for byte 122");
}

TEST(Tokenizer, UnsupportedFeaturesAreNamed) {
  const auto expect = [](const std::function<void(Json&)>& change, const std::string& what) {
    EXPECT_ERROR(small(change), Error, what);
  };
  expect([](Json& r) { r["normalizer"] = {{"type", "NFC"}}; }, "normalizer \"NFC\" is not supported");
  expect([](Json& r) { r["model"]["type"] = "WordPiece"; }, "model \"WordPiece\"");
  expect([](Json& r) { r["model"]["byte_fallback"] = true; }, "byte_fallback");
  expect([](Json& r) { r["model"]["dropout"] = 0.1; }, "dropout 0.1");
  expect([](Json& r) { r["model"]["end_of_word_suffix"] = "</w>"; }, "end_of_word_suffix");
  expect([](Json& r) { r["model"]["novelty"] = 1; }, "a key \"novelty\"");
  expect(
      [](Json& r) {
        r["pre_tokenizer"] = {{"type", "Sequence"},
                              {"pretokenizers",
                               {{{"type", "Split"}, {"pattern", {{"Regex", "a(?~b)"}}}, {"behavior", "Isolated"}},
                                {{"type", "ByteLevel"}, {"add_prefix_space", false}}}}};
      },
      "small.json: split pattern `a(?~b)`: (?~ at byte 1 is not supported");
  expect([](Json& r) { r["pre_tokenizer"] = {{"type", "Whitespace"}}; }, "pre_tokenizer \"Whitespace\"");
  expect([](Json& r) { r["pre_tokenizer"] = nullptr; }, "decoder \"ByteLevel\" is not supported");
  expect([](Json& r) { r["decoder"] = {{"type", "Metaspace"}}; }, "decoder \"Metaspace\"");
  expect([](Json& r) { r["post_processor"] = {{"type", "BertProcessing"}}; }, "post_processor \"BertProcessing\"");
  expect(
      [](Json& r) {
        r["added_tokens"] = Json::array({added(262, "<x>", true)}), r["added_tokens"][0]["lstrip"] = true;
      },
      "lstrip of added token \"<x>\"");
  expect(
      [](Json& r) {
        r["pre_tokenizer"] = {{"type", "Sequence"},
                              {"pretokenizers",
                               {{{"type", "Split"}, {"pattern", {{"Regex", "x"}}}, {"behavior", "Removed"}},
                                {{"type", "ByteLevel"}, {"add_prefix_space", false}}}}};
      },
      "Split behavior \"Removed\"");
}

TEST(Tokenizer, DamagedFilesAreOneLineErrors) {
  EXPECT_ERROR(Tokenizer::from_json("{\"model\": ", "cut.json"), Error, "cut.json: not valid JSON near byte");
  EXPECT_ERROR(Tokenizer::from_json("{\"model\": 1e400}", "big.json"), Error,
               "big.json: a number in it is out of range");
  EXPECT_ERROR(Tokenizer::from_json("[]", "list.json"), Error, "list.json: array, expected the object");
  EXPECT_ERROR(Tokenizer::from_json("{}", "empty.json"), Error, "no object \"model\"");
  const auto expect = [](const std::function<void(Json&)>& change, const std::string& what) {
    EXPECT_ERROR(small(change), Error, what);
  };
  expect([](Json& r) { r["model"]["merges"].push_back("abc"); }, "merge 5: merge \"abc\", expected two tokens");
  expect([](Json& r) { r["model"]["merges"].push_back("a zz"); }, "no token \"zz\"");
  expect([](Json& r) { r["model"]["merges"].push_back(3); }, "merge 5 is 3");
  expect([](Json& r) { r["model"]["merges"].push_back({"a", "b", "c"}); }, "merge 5 is a list of 3, expected \"a b\"");
  expect([](Json& r) { r["model"]["merges"].push_back({{"a", "b"}}); }, "merge 5 is an object");
  expect([](Json& r) { r["model"]["vocab"]["new"] = Json::array(); }, "\"new\" is a list");
  expect([](Json& r) { r["model"]["vocab"] = Json::array(); }, "a vocabulary that is no object");
  expect([](Json& r) { r["model"]["merges"] = "a b"; }, "\"merges\" is string");
  expect([](Json& r) { r["model"]["vocab"]["new"] = 5; }, "id 5 is");
  expect([](Json& r) { r["model"]["vocab"]["new"] = -5; }, "\"new\" is -5");
  expect([](Json& r) { r["model"]["vocab"]["new"] = 2000000000; }, "highest id 2000000000");
  expect([](Json& r) { r["model"]["vocab"]["new"] = "x"; }, "\"new\" is \"x\"");
  expect([](Json& r) { r["model"]["vocab"] = Json::object(); }, "vocabulary is empty");
  expect([](Json& r) { r["added_tokens"] = Json::array({added(7, "<x>", true)}); }, "id 7 is");
  expect([](Json& r) { r["added_tokens"] = Json::array({added(7, "ab", true)}); }, "in the vocabulary 256");
  expect([](Json& r) { r["added_tokens"] = Json::array({added(262, "", true)}); }, "without content");

  EXPECT_ERROR(Tokenizer::from_json(R"({"model": {"vocab": {"a": 0, "b": 1, "a": 2}, "merges": []},
      "pre_tokenizer": {"type": "ByteLevel"}, "decoder": {"type": "ByteLevel"}})",
                                    "two"),
               Error, "two: token \"a\" has ids 0 and 2");
  EXPECT_ERROR(Tokenizer::from_json(R"({"model": {"vocab": {}, "vocab": {}}})", "two"), Error, "two of \"vocab\"");

  const std::string deep = std::string(200'000, '[') + std::string(200'000, ']');
  EXPECT_ERROR(Tokenizer::from_json("{\"model\": {\"vocab\": {\"a\": " + deep + "}}}", "deep.json"), Error,
               "deep.json: lists or objects stand too deep in each other");

  const TempFolder folder;
  EXPECT_ERROR(Tokenizer::load(folder / "nothing.json"), Error, "nothing.json");
  EXPECT_ERROR(Tokenizer::load(folder.path()), Error, "no tokenizer.json");
  test::put(folder / "vocab.json", R"({"a": 0, "b": 1})");
  test::put(folder / "merges.txt", "#version: 0.2\na b\n");
  EXPECT_ERROR(Tokenizer::load(folder.path()), Error, "no token \"ab\"");
  test::put(folder / "merges.txt", "#version: 0.2\r\na\r\n");
  EXPECT_ERROR(Tokenizer::load(folder.path()), Error, "merges.txt:2: merge \"a\", expected two tokens");
}

TEST(Tokenizer, PaddingAndTruncationDoNotCount) {
  const auto change = [](Json& root) {
    root["padding"] = {{"strategy", {{"Fixed", 16}}}, {"pad_id", 3}, {"pad_token", "x"}};
    root["truncation"] = {{"max_length", 1}, {"strategy", "LongestFirst"}};
  };
  EXPECT_EQ(tokens_of(small(change), "abab"), (Words{"ab", "ab"}));
  const Tokenizer padded = Tokenizer::load(kReports + "/tokenizer_padding.json");
  EXPECT_EQ(padded.encode("a12"), (Ids{97, 256}));
}

TEST(Tokenizer, RepeatsOfRepeatsAreReadAsTheLibraryReadsThem) {
  const Tokenizer tokenizer = Tokenizer::load(kReports + "/tokenizer_interval.json");
  EXPECT_EQ(tokenizer.encode("1234567"), (Ids{257, 258, 259}));
}

TEST(Tokenizer, StepsThatReplaceNothingAreRefused) {
  const std::string text = test::slurp(WAVETAPE_SOURCE_DIR "/tests/fixtures/tokenizers/llama2_split.json");
  const auto expect = [&](const std::function<void(Json&)>& change, const std::string& what) {
    Json root = Json::parse(text);
    change(root);
    EXPECT_ERROR(Tokenizer::from_json(root.dump(), "marks.json"), Error, what);
  };
  for (const char* mark : {"", "ab"}) {
    const std::string wanted = cat("marks.json: \"replacement\" is \"", mark, "\", expected one character");
    expect([&](Json& r) { r["decoder"]["replacement"] = mark; }, wanted);
    expect([&](Json& r) { r["pre_tokenizer"]["replacement"] = mark; }, wanted);
  }
  const Json replace = {{"type", "Replace"}, {"pattern", {{"String", ""}}}, {"content", "x"}};
  expect([&](Json& r) { r["normalizer"] = replace; }, "Replace pattern {\"String\":\"\"} is not supported");
  expect([&](Json& r) { r["decoder"] = replace; }, "Replace pattern {\"String\":\"\"} is not supported");
  expect(
      [&](Json& r) {
        r["decoder"] = {
            {"type", "Sequence"},
            {"decoders", {{{"type", "Fuse"}}, {{"type", "Strip"}, {"content", ""}, {"start", 1}, {"stop", 0}}}}};
      },
      "\"content\" is \"\", expected one character");
  // Forty steps that double a text each time.
  Json doubles = Json::array();
  for (int i = 0; i < 40; ++i)
    doubles.push_back({{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}});
  Json root = Json::parse(text);
  root["normalizer"] = {{"type", "Sequence"}, {"normalizers", doubles}};
  EXPECT_ERROR(Tokenizer::from_json(root.dump(), "marks.json").encode("a"), Error, "make more than 1088 bytes");
}

TEST(Tokenizer, MetaspaceTakesAnyCharacterForItsMark) {
  const std::string text = test::slurp(WAVETAPE_SOURCE_DIR "/tests/fixtures/tokenizers/llama2_split.json");
  for (const char* mark : {"]", ".", "_", "▁"}) {
    Json root = Json::parse(text);
    for (const char* step : {"decoder", "pre_tokenizer"}) root[step]["replacement"] = mark;
    const Tokenizer tokenizer = Tokenizer::from_json(root.dump(), "marks.json");
    EXPECT_EQ(tokenizer.decode(tokenizer.encode("Mary is here")), "Mary is here") << mark;
  }
}

// What transformers 5.24 gives for the same folders.
TEST(Tokenizer, FolderOfGpt2HasItsAddedTokens) {
  const TempFolder folder;
  const std::string source = kReports + "/gpt2_added_tokens";
  EXPECT_EQ(Tokenizer::load(source).encode("hi<|pad|>hi"), (Ids{256, 258, 256}));
  const auto reset = [&](const Json& config) {
    for (const char* file : {"vocab.json", "merges.txt", "added_tokens.json"}) {
      test::put(folder / file, test::slurp(cat(source, "/", file)));
    }
    test::put(folder / "special_tokens_map.json", "{}");
    test::put(folder / "tokenizer_config.json", config.dump());
  };
  const auto load = [&] { return Tokenizer::load(folder.path()); };
  const std::string text = "hi<|pad|>hi<|endoftext|> hi<x> hi";
  const Json x = {{"content", "<x>"}, {"lstrip", false}, {"rstrip", false}, {"single_word", false}};

  reset({{"tokenizer_class", "GPT2Tokenizer"}, {"add_prefix_space", true}});
  EXPECT_EQ(load().encode(text), (Ids{32, 256, 258, 32, 256, 257, 32, 256, 60, 120, 62, 32, 256}));
  EXPECT_FALSE(load().is_special(258));

  reset({{"add_bos_token", true}});
  EXPECT_EQ(load().encode("hi", {.add_special_tokens = true}), (Ids{257, 256}));

  // added_tokens_decoder counts alone.
  reset({{"added_tokens_decoder", {{"258", x}}}});
  EXPECT_EQ(load().encode(text), (Ids{256, 60, 124, 112, 97, 100, 124, 62, 256, 257, 32, 256, 258, 32, 256}));

  // Named tokens that no other file has come last.
  const Ids with_x{256, 258, 256, 257, 32, 256, 259, 32, 256};
  reset({{"eos_token", "<x>"}});
  EXPECT_EQ(load().encode(text), with_x);
  EXPECT_TRUE(load().is_special(259));
  reset({{"additional_special_tokens", {"<x>", "<y>"}}});
  EXPECT_EQ(load().encode(text), with_x);
  EXPECT_EQ(load().require_id("<y>"), 260);
  reset(Json::object());
  test::put(folder / "special_tokens_map.json", Json{{"pad_token", "<|pad|>"}, {"eos_token", x}}.dump());
  EXPECT_EQ(load().encode(text), with_x);
  EXPECT_TRUE(load().is_special(258));

  reset({{"pad_token", {{"content", "<x>"}, {"lstrip", true}}}});
  EXPECT_ERROR(load(), Error, "tokenizer_config.json: lstrip of added token \"<x>\" is not supported");
  reset({{"tokenizer_class", "RobertaTokenizer"}});
  EXPECT_ERROR(load(), Error, "tokenizer_class \"RobertaTokenizer\" without a tokenizer.json is not supported");
  reset(Json::object());
  test::put(folder / "added_tokens.json", R"({"<x>": 262})");
  EXPECT_ERROR(load(), Error, "added token \"<x>\" has id 262, expected 258, the next behind the vocabulary");
}

TEST(Utf8, Validity) {
  for (const char* valid : {"a", "é", "€", "\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(utf8_length_at(valid, 0), std::string_view(valid).size()) << valid;
  }
  for (const char* invalid : {"\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                              "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\xe2\x28\xa1"}) {
    EXPECT_EQ(utf8_length_at(invalid, 0), 0u) << invalid;
  }
  EXPECT_EQ(utf8_repaired("a\xff\xe2\x82z"), "a\uFFFD\uFFFD\uFFFDz");
  for (const char32_t c : {0x24u, 0xA2u, 0x20ACu, 0x10348u, 0x10FFFFu}) {
    std::string text;
    append_utf8(text, c);
    EXPECT_EQ(utf8_at(text, 0), c);
    EXPECT_EQ(utf8_length_at(text, 0), text.size());
  }
}

}  // namespace
}  // namespace wt
