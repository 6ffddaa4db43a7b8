#include "data/eval_set.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/random.h"
#include "core/text.h"
#include "data/hdf5_file.h"
#include "tests/data/data_test_support.h"
#include "tests/support/books.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

using test::put;
using test::shipped_tokenizer;

std::shared_ptr<const BookText> books() {
  test::BookBuilder out(shipped_tokenizer().vocab_size());
  out.begin_book("psalms");
  for (int i = 0; i < 400; ++i) {
    out.add_sentence(shipped_tokenizer().encode_plain(cat(" The LORD is my caf\u00e9 and my light number ", i, ".")));
  }
  return out.build();
}

EvalSetConfig config(const std::string& length, std::int64_t num_samples = 5) {
  EvalSetConfig out;
  out.length = length;
  out.num_samples = num_samples;
  return out;
}

TEST(EvalSet, LengthsAreThousandsOfTokens) {
  EXPECT_EQ(parse_length("0k"), 0);
  EXPECT_EQ(parse_length("4k"), 4000);
  EXPECT_EQ(parse_length("512k"), 512000);
  EXPECT_EQ(parse_length("10M"), 10000000);
  EXPECT_EQ(parse_length("192"), 192);
  for (const char* length :
       {"", "k", "-4k", "4K", "4kk", "1.5k", "99999999999999999999", "2000M", "9223372036854775807k"}) {
    EXPECT_ERROR(parse_length(length), UsageError, cat("length `", length, "`, expected a number of tokens"));
  }
}

TEST(EvalSet, JsonAndHdf5HoldTheSamplersSamples) {
  const TempFolder folder;
  EvalSetConfig c = config("256");
  c.babilong.inline_question_rate = 0.9;  // a setting of training that an evaluation overrules
  c.babilong.ask_everyone = true;
  std::vector<std::int64_t> done;
  build_eval_set(c, shipped_tokenizer(), books(), 3, folder / "set.json", [&](std::int64_t n, std::int64_t total) {
    EXPECT_EQ(total, 5);
    done.push_back(n);
  });
  build_eval_set(c, shipped_tokenizer(), books(), 3, folder / "set.h5");
  EXPECT_EQ(done, (std::vector<std::int64_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(test::num_files(folder), 2u);
  const std::vector<EvalSample> json = read_eval_set(folder / "set.json", shipped_tokenizer());
  const std::vector<EvalSample> hdf5 = read_eval_set(folder / "set.h5", shipped_tokenizer());
  const BabilongSampler sampler = eval_sampler(c, shipped_tokenizer(), books(), 3);
  ASSERT_EQ(json.size(), 5u);
  ASSERT_EQ(hdf5.size(), 5u);
  for (std::size_t i = 0; i < 5; ++i) {
    const BabilongSample sample = sampler.sample(i);
    EXPECT_EQ(sample.tokens.size(), 256u);
    EXPECT_EQ(sample.num_inline_questions, 0);
    const std::vector<std::int32_t> prompt(sample.tokens.begin(), sample.tokens.begin() + sample.prompt_size);
    EXPECT_EQ(hdf5[i].prompt, prompt);
    EXPECT_EQ(hdf5[i].question, sample.question);
    EXPECT_EQ(hdf5[i].target, sample.answer);
    EXPECT_EQ(prompt_tokens(hdf5[i], shipped_tokenizer(), c.babilong), prompt);
    EXPECT_EQ(json[i].question, sample.question);
    EXPECT_EQ(json[i].target, sample.answer);
    EXPECT_TRUE(json[i].prompt.empty());
    EXPECT_NE(json[i].input.front(), ' ');
    // The text gives the same prompt, up to a character that the last sentence's cut went through.
    const std::string text = shipped_tokenizer().decode(prompt_tokens(json[i], shipped_tokenizer(), c.babilong));
    if (json[i].input.find("\uFFFD") == std::string::npos) {
      EXPECT_EQ(text, shipped_tokenizer().decode(prompt));
    }
  }
}

TEST(EvalSet, ZeroMeansFactsAlone) {
  const TempFolder folder;
  build_eval_set(config("0k", 20), shipped_tokenizer(), nullptr, 3, folder / "set.json");
  for (const EvalSample& sample : read_eval_set(folder / "set.json", shipped_tokenizer())) {
    EXPECT_EQ(sample.input.find("LORD"), std::string::npos);
    EXPECT_NE(sample.input.find(sample.target), std::string::npos);
  }
}

TEST(EvalSet, TheSameSeedGivesTheSameBytes) {
  const TempFolder folder;
  for (const char* name : {"a.json", "b.json", "a.h5", "b.h5"}) {
    build_eval_set(config("200"), shipped_tokenizer(), books(), 3, folder / name);
  }
  build_eval_set(config("200"), shipped_tokenizer(), books(), 4, folder / "c.json");
  EXPECT_EQ(test::slurp(folder / "a.json"), test::slurp(folder / "b.json"));
  EXPECT_EQ(read_eval_set(folder / "a.h5", shipped_tokenizer())[4].prompt,
            read_eval_set(folder / "b.h5", shipped_tokenizer())[4].prompt);
  EXPECT_NE(test::slurp(folder / "a.json"), test::slurp(folder / "c.json"));
}

TEST(EvalSet, PublishedJsonIsReadAndStoppedAt) {
  const TempFolder folder;
  const std::vector<EvalSample> samples{{"He \"sat\".\n\u00e9", "Where? ", "office", {}}, {"", "Q?", "a,b", {}}};
  write_eval_json(folder / "set.json", samples);
  const std::vector<EvalSample> back = read_eval_set(folder / "set.json", shipped_tokenizer());
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(back[0].input, samples[0].input);
  EXPECT_EQ(back[1].target, "a,b");
  put(folder / "order.json", R"([{"target": "t", "question": "q", "input": "i"}, {"target": 5}])");
  const EvalSet first(folder / "order.json", shipped_tokenizer(), 1);  // the damaged second sample is not reached
  EXPECT_EQ(first.size(), 1);
  EXPECT_EQ(first.question(0), "q");
  EXPECT_EQ(first.sample(0).input, "i");
}

TEST(EvalSet, DamagedJsonIsNamed) {
  const TempFolder folder;
  const auto expect = [&](const std::string& text, const std::string& what) {
    put(folder / "set.json", text);
    EXPECT_ERROR(read_eval_set(folder / "set.json", shipped_tokenizer()), Error, what);
  };
  const std::string good = R"({"input": "i", "question": "q", "target": "t"})";
  expect("", "set.json: not valid JSON near byte");
  expect("[", "set.json: not valid JSON near byte");
  expect("[" + good, "(sample 1)");
  expect("[" + good + "] x", "not valid JSON");
  expect("[]", "the list is empty");
  expect(good, "starts with an object, expected a list");
  expect("5", "starts with a number");
  expect("[" + good + ", 5]", "sample 1: is a number, expected an object");
  expect("[[]]", "sample 0: is a list, expected an object");
  expect(R"([{"input": "i", "target": "t"}])", "sample 0: no key \"question\"");
  expect(R"([{"input": "i", "question": "q", "target": 7}])", "sample 0: \"target\" is a number, expected a text");
  expect(R"([{"input": ["i"], "question": "q", "target": "t"}])", "sample 0: \"input\" is a list, expected a text");
  expect(R"([{"input": null, "question": "q", "target": "t"}])", "sample 0: \"input\" is null");
  expect(R"([{"input": {"a": 1}, "question": "q", "target": "t"}])", "sample 0: \"input\" is an object");
  expect(R"([{"input": "i", "question": "q", "target": ""}])", "sample 0: \"target\" is empty");
  expect(R"([{"input": "i", "question": "q", "target": " "}])", "sample 0: \"target\" is empty");
  expect(R"([{"input": "i", "question": "q", "target": "t", "extra": "x"}])", "sample 0: unknown key \"extra\"");
  expect(R"([{"input": "i", "input": "j", "question": "q", "target": "t"}])", "sample 0: \"input\" stands there twice");
  expect("[{\"input\": \"\xff\", \"question\": \"q\", \"target\": \"t\"}]", "not valid JSON");
  expect(std::string(100000, '['), "sample 0: is a list");
  EXPECT_ERROR(read_eval_set(folder / "none.json", shipped_tokenizer()), Error, "none.json: cannot be opened");
  EXPECT_ERROR(read_eval_set(folder.path(), shipped_tokenizer()), Error, "is a folder");
}

// Texts of all kinds of characters, with blanks in a row and added tokens' spellings; `escaped` as JSON may write it.
struct RandomText {
  std::string text, escaped;
};

RandomText random_text(std::uint64_t seed, std::size_t bytes) {
  RandomStream random(seed, random_stream(RandomPurpose::kTest, 5));
  const std::vector<std::string> words{
      " ",       " the",          "John", "\n",     "  ",     "\t",         "caf\u00e9",
      "\u20ac9", "\u0431",        "12",   "\"",     "\\",     "\U0001F600", ".",
      "<|gen|>", "<|endoftext|>", "/",    "\u3042", "office", "Mary"};
  RandomText out;
  while (out.text.size() < bytes) {
    const std::string& word = words[static_cast<std::size_t>(random.below(words.size()))];
    out.text += word;
    const int ensure_ascii = random.bernoulli(0.5);
    const std::string quoted = nlohmann::json(word).dump(-1, ' ', ensure_ascii != 0);
    out.escaped += word == "/" && ensure_ascii != 0 ? "\\/" : quoted.substr(1, quoted.size() - 2);
  }
  return out;
}

TEST(EvalSet, InPiecesTheInputIsTheSame) {
  const TempFolder folder;
  const BabilongConfig style;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    // The last are larger than a piece of the tokeniser.
    const RandomText text = random_text(seed, seed < 10 ? 1 + 30000 * seed : 2500000);
    const std::string question = R"("question": " Where? ", )", input = R"("input": ")" + text.escaped + R"(", )";
    put(folder / "set.json", cat("[{", seed % 2 == 0 ? question + input : input + question, R"("target": "t"},)",
                                 R"({"question":"q","target":"t","input":""}])"));
    const EvalSet set(folder / "set.json", shipped_tokenizer());
    EXPECT_EQ(set.bytes(0), static_cast<std::int64_t>(text.escaped.size()));
    const EvalSample sample = set.sample(0);
    ASSERT_TRUE(sample.input == text.text) << seed;
    const TextPieces pieces = set.input(0);
    std::string together;
    for (std::string piece = pieces(); !piece.empty(); piece = pieces()) {
      EXPECT_LE(piece.size(), 400000u);
      together += piece;
    }
    ASSERT_TRUE(together == text.text);
    ASSERT_TRUE(whole(prompt_pieces(set, 0, shipped_tokenizer(), style)) ==
                prompt_tokens(sample, shipped_tokenizer(), style))
        << seed;
    EXPECT_EQ(set.sample(1).input, "");
    EXPECT_EQ(whole(prompt_pieces(set, 1, shipped_tokenizer(), style)),
              prompt_tokens(set.sample(1), shipped_tokenizer(), style));
  }
}

TEST(EvalSet, CharactersMayStandAcrossTheFilesPieces) {
  const TempFolder folder;
  constexpr std::size_t kBuffer = std::size_t{1} << 18;
  const std::string end = "\u00e9\u20ac\U0001F600";
  const std::string escapes = R"(\u00e9\ud83d\uDE00\n\\ \"\/\u0000x)";
  const std::string meant = std::string("\u00e9\U0001F600\n\\ \"/\0x", 6 + 1 + 1 + 1 + 1 + 1 + 2);
  for (std::size_t shift = 0; shift < 52; ++shift) {
    const std::string start = R"([{"question": "q", "target": "t", "input": ")";
    const std::string filler(kBuffer - start.size() - shift, 'a');
    put(folder / "set.json", start + filler + end + escapes + "\"}]");
    ASSERT_TRUE(EvalSet(folder / "set.json", shipped_tokenizer()).sample(0).input == filler + end + meant) << shift;
  }
}

TEST(EvalSet, DamagedTextsAreNamed) {
  const TempFolder folder;
  const std::string start = R"([{"question": "q", "target": "t"}, {"question": "q", "target": "t", "input": ")";
  const std::string good =
      R"([{"question": "q", "target": "t", "input": "i"}, {"question": "q", "target": "t", "input": ")";
  const auto expect = [&](const std::string& text, const std::string& what) {
    put(folder / "set.json", text);
    EXPECT_ERROR(EvalSet(folder / "set.json", shipped_tokenizer()), Error, what);
  };
  expect(start + "i\"}]", "sample 0: no key \"input\"");
  const std::string filler(1000000, 'a');
  const std::string place = cat("not valid JSON near byte ", good.size() + filler.size());
  expect(good + filler, place + " (sample 1)");
  for (const char* bad : {"\n", "\xff", "\xc3", "\xed\xa0\x80", "\xc0\x80", "\xf5\x80\x80\x80", R"(\x)", R"(\u12)",
                          R"(\u12g4)", R"(\ud800)", R"(\ud800\u0041)", R"(\ud800x)", R"(\udc00)", R"(\)"}) {
    expect(good + filler + bad + "\"}]", "(sample 1)");
    expect(good + filler + bad, "not valid JSON near byte 100");
  }
  expect(good + filler + "\", \"x\": \"y\"}]", "sample 1: unknown key \"x\"");
  expect(cat("[{\"", filler), "sample 0: unknown key \"aaaa");
  expect(good + filler + "\" 5}]", "not valid JSON");
  expect(good + filler + "\",}]", "not valid JSON");
  expect(good + filler + "\"},]", "(sample 2)");
  expect(good + "i\"}", "not valid JSON");
  expect(good + "i\"}] []", "not valid JSON");
  expect("\xef\xbb\xbf" + good + "\"", "not valid JSON");
  // The file must not change under the reader.
  put(folder / "set.json", "\xef\xbb\xbf" + good + "text\"}]");
  const EvalSet set(folder / "set.json", shipped_tokenizer());
  EXPECT_EQ(set.sample(1).input, "text");
  put(folder / "set.json", "\xef\xbb\xbf" + good + "te");
  EXPECT_ERROR(set.sample(1), Error, "not valid JSON near byte");
  std::filesystem::remove(folder / "set.json");
  EXPECT_ERROR(set.sample(1), Error, "cannot open");
  EXPECT_ERROR(set.prompt(1), Error, "holds text, no tokens");
}

// Against another parser: a list of three texts each, or none.
std::optional<std::vector<EvalSample>> by_the_library(const std::string& text) {
  const nlohmann::json list = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!list.is_array() || list.empty()) return {};
  std::vector<EvalSample> out;
  for (const nlohmann::json& one : list) {
    if (!one.is_object() || one.size() != 3) return {};
    for (const char* key : {"input", "question", "target"}) {
      if (!one.contains(key) || !one[key].is_string()) return {};
    }
    out.push_back({one["input"], one["question"], one["target"], {}});
    if (trimmed(out.back().target).empty()) return {};
  }
  return out;
}

TEST(EvalSet, JsonIsWhatAnotherParserTakesForIt) {
  const TempFolder folder;
  RandomStream random(7, random_stream(RandomPurpose::kTest, 8));
  const std::vector<std::string> starts{
      R"([{"input": "a\u00e9\ud83d\ude00 b", "question": "q\n", "target": "t"}])",
      "\xef\xbb\xbf[ {\"target\":\"\u00e9\U0001F600\" ,\t\"question\":\"\",\"input\":\"\\\\ \\/\"},\r\n{\"input\":\"\","
      "\"question\":\"x\",\"target\":\"y\"} ]"};
  const std::string bytes = "\"\\u{}[],: dD8cCe0f\n\t\xc3\xa9\xf0\x9f\x98\x80\xed\xa0nbtrue1-";
  int taken = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text = starts[static_cast<std::size_t>(random.below(starts.size()))];
    for (auto changes = random.below(4); changes > 0; --changes) {
      const auto at = static_cast<std::size_t>(random.below(text.size()));
      const char byte = bytes[static_cast<std::size_t>(random.below(bytes.size()))];
      switch (random.below(4)) {
        case 0:
          text.erase(at, 1);
          break;
        case 1:
          text.insert(at, 1, byte);
          break;
        case 2:
          text[at] = byte;
          break;
        default:
          text.insert(at, text.substr(static_cast<std::size_t>(random.below(text.size())), random.below(9)));
      }
    }
    put(folder / "set.json", text);
    const auto expected = by_the_library(text);
    std::string error;
    std::vector<EvalSample> found;
    try {
      found = read_eval_set(folder / "set.json", shipped_tokenizer());
    } catch (const Error& caught) {
      error = caught.what();
    }
    if (error.find("twice") != std::string::npos) continue;  // the other one takes the last
    ASSERT_EQ(error.empty(), expected.has_value()) << text << "\n" << error;
    if (!expected) continue;
    ++taken;
    ASSERT_EQ(found.size(), expected->size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].input, (*expected)[i].input);
      EXPECT_EQ(found[i].question, (*expected)[i].question);
      EXPECT_EQ(found[i].target, (*expected)[i].target);
    }
  }
  EXPECT_GT(taken, 700);
}

TEST(EvalSet, Hdf5PromptsComeInPieces) {
  const TempFolder folder;
  std::vector<std::int32_t> tokens;
  for (std::int32_t i = 0; i < 700000; ++i) tokens.push_back(i % 2048);
  const auto write = [&] {
    Hdf5Writer file(folder / "set.h5");
    file.attribute("format", "wavetape evaluation set");
    file.attribute("version", 1);
    file.attribute("tokenizer", shipped_tokenizer().fingerprint());
    file.append<std::int64_t>("prompt_offsets", std::vector<std::int64_t>{0, 3, 700000});
    file.append<std::int32_t>("tokens", tokens);
    file.texts("questions", {"q", "r"});
    file.texts("targets", {"t", "u"});
    file.commit();
  };
  write();
  const EvalSet set(folder / "set.h5", shipped_tokenizer());
  EXPECT_EQ(set.bytes(1), 699997 * 4);
  EXPECT_EQ(set.question(1), "r");
  const TokenPieces pieces = prompt_pieces(set, 1, shipped_tokenizer(), {});
  EXPECT_LT(pieces().size(), 300000u);
  EXPECT_TRUE(whole(set.prompt(1)) == std::vector<std::int32_t>(tokens.begin() + 3, tokens.end()));
  EXPECT_TRUE(whole(prompt_pieces(set, 1, shipped_tokenizer(), {})) == set.sample(1).prompt);
  EXPECT_ERROR(set.input(1), Error, "holds tokens, no text");
  tokens.back() = 2048;
  write();
  EXPECT_ERROR(EvalSet(folder / "set.h5", shipped_tokenizer()), Error, "sample 1: token 2048");
  EXPECT_EQ(EvalSet(folder / "set.h5", shipped_tokenizer(), 1).size(), 1);
}

TEST(EvalSet, DamagedHdf5IsNamed) {
  const TempFolder folder;
  const auto expect = [&](const std::vector<std::int64_t>& offsets, const std::vector<std::int32_t>& tokens,
                          const std::vector<std::string>& questions, const std::vector<std::string>& targets,
                          const std::string& what) {
    {
      Hdf5Writer file(folder / "set.h5");
      file.attribute("format", "wavetape evaluation set");
      file.attribute("version", 1);
      file.attribute("tokenizer", shipped_tokenizer().fingerprint());
      file.append<std::int64_t>("prompt_offsets", offsets);
      file.append<std::int32_t>("tokens", tokens);
      file.texts("questions", questions);
      file.texts("targets", targets);
      file.commit();
    }
    EXPECT_ERROR(read_eval_set(folder / "set.h5", shipped_tokenizer()), Error, what);
  };
  expect({0, 2, 9}, {1, 2, 3}, {"q", "q"}, {"t", "t"}, "sample 1: prompt 2 ... 9 of 3 tokens");
  expect({-1, 2, 3}, {1, 2, 3}, {"q", "q"}, {"t", "t"}, "sample 0: prompt -1 ... 2");
  expect({0, 0, 3}, {1, 2, 3}, {"q", "q"}, {"t", "t"}, "sample 0: prompt 0 ... 0");
  expect({0, 2, 3}, {1, 2, 3}, {"q", "q"}, {"t", ""}, "sample 1: prompt 2 ... 3 of 3 tokens, target ``");
  expect({0, 2, 3}, {1, 2, 2048}, {"q", "q"}, {"t", "t"}, "sample 1: token 2048, expected below 2048");
  expect({0, 2, 3}, {1, 2, -1}, {"q", "q"}, {"t", "t"}, "sample 1: token -1");
  expect({0, 2}, {1, 2}, {"q", "q"}, {"t", "t"}, "2 targets, 2 questions and 2 prompt_offsets");
  expect({0}, {}, {}, {}, "0 targets");
  build_eval_set(config("200"), shipped_tokenizer(), books(), 3, folder / "set.h5");
  const Tokenizer gpt2 = Tokenizer::load(WAVETAPE_SOURCE_DIR "/tests/fixtures/gpt2");
  EXPECT_ERROR(read_eval_set(folder / "set.h5", gpt2), Error, "made with another tokenizer");
  const std::string whole = test::slurp(folder / "set.h5");
  put(folder / "set.h5", whole.substr(0, whole.size() / 2));
  EXPECT_ERROR(read_eval_set(folder / "set.h5", shipped_tokenizer()), Error, "set.h5");
}

// bAbI's form: 40 stories of six facts with a question after every second one, the last story of 60 facts.
std::string story_file() {
  std::string text;
  const char* rooms[] = {"kitchen", "garden", "office"};
  for (int story = 0; story < 40; ++story) {
    const int facts = story == 38 ? 60 : 6;
    int line = 0, mary = 0;
    for (int fact = 1; fact <= facts; ++fact) {
      if (fact % 2 == 1) mary = ++line;
      if (fact % 2 == 0) ++line;
      text += cat(line, fact % 2 == 1 ? " Mary" : " John", " went to the ", rooms[(story + fact) % 3], ".\n");
      if (fact % 2 == 0) text += cat(++line, " Where is Mary? \t", rooms[(story + fact - 1) % 3], "\t", mary, "\n");
    }
  }
  return text;
}

struct Released {
  TempFolder folder;
  EvalSetConfig set;
  explicit Released(const std::string& task, const std::string& length) {
    put(folder / (task + "_x_test.txt"), story_file());
    set.babilong.stories.task = task;
    set.babilong.stories.babi = folder.path();
    set.length = length;
    set.released = true;
    set.num_samples = 0;
  }
  std::vector<EvalSample> build() {
    const std::int64_t count = build_eval_set(set, shipped_tokenizer(), books(), 3, folder / "set.json");
    std::vector<EvalSample> samples = read_eval_set(folder / "set.json", shipped_tokenizer());
    EXPECT_EQ(count, static_cast<std::int64_t>(samples.size()));
    return samples;
  }
};

TEST(EvalSet, ReleasedAtZeroIsTheTestFile) {
  Released complete("qa1", "0k");
  std::vector<BabiSample> expected;
  for (const BabiStory& story : parse_babi(story_file(), "x")) {
    for (int question = 0; question < story.num_questions(); ++question) {
      expected.push_back(babi_sample(story, question));
    }
  }
  ASSERT_EQ(expected.size(), 39u * 3 + 30);
  const std::vector<EvalSample> samples = complete.build();
  ASSERT_EQ(samples.size(), expected.size());
  for (std::size_t i = 0; i < samples.size(); ++i) {
    std::string facts;
    for (const std::string& fact : expected[i].facts) facts += cat(facts.empty() ? "" : " ", fact);
    EXPECT_EQ(samples[i].input, facts);
    EXPECT_EQ(samples[i].question, "Where is Mary? ") << "as in the file";
    EXPECT_EQ(samples[i].target, expected[i].answer);
  }
  // The published sets of the other tasks lack the last sample.
  for (const std::string task : {"qa2", "qa5", "qa11", "qa20"}) EXPECT_EQ(Released(task, "0k").build().size(), 146u);
  EXPECT_EQ(Released("qa2", "1k").build().size(), 147u);
  EXPECT_EQ(Released("qa3", "1k").build().size(), 146u);
  for (const std::string task : {"qa6", "qa10"}) EXPECT_EQ(Released(task, "0k").build().size(), 147u);
}

TEST(EvalSet, ReleasedLengthsLimitFactsAndLeaveRoomForThePrompt) {
  Released set("qa1", "700");
  const std::vector<EvalSample> samples = set.build();
  // (700 - 300) / 8 = 50 lines: of the long story's questions those after 2, 4, ..., 48 facts, and not the one
  // after 50.
  EXPECT_EQ(samples.size(), 39u * 3 + 24);
  const BabilongSampler sampler = eval_sampler(set.set, shipped_tokenizer(), books(), 3);
  std::size_t most_facts = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const BabilongSample sample = sampler.sample(i);
    EXPECT_EQ(sample.context_size, 400);
    EXPECT_EQ(samples[i].question, sample.question);
    EXPECT_NE(samples[i].input.find("LORD"), std::string::npos);
    EXPECT_FALSE(samples[i].input.starts_with(' '));
    // The facts stand in the context, in their order.
    std::size_t at = 0;
    for (const std::string& fact : sample.facts) {
      at = samples[i].input.find(fact, at);
      ASSERT_NE(at, std::string::npos) << i << ": " << fact;
      at += fact.size();
    }
    most_facts = std::max(most_facts, sample.facts.size());
  }
  EXPECT_EQ(most_facts, 48u);
  set.set.num_samples = 5;
  EXPECT_EQ(set.build().size(), 5u);
}

TEST(EvalSet, ImpossibleReleasedSetsAreNamed) {
  Released set("qa1", "315");
  EXPECT_ERROR(set.build(), UsageError, "length `315`: a released set needs at least 316 tokens");
  set.set.length = "0k";
  set.set.num_samples = 148;
  EXPECT_ERROR(set.build(), UsageError, "148 samples of qa1 at 0k: the released set has 147");
  set.set.num_samples = -1;
  EXPECT_ERROR(set.build(), UsageError, "an evaluation set of -1 samples");
  set.set.num_samples = 0;
  set.set.babilong.stories.babi = "simulate";
  EXPECT_ERROR(set.build(), UsageError, "made of bAbI's own files: name their folder (--babi DIR), not simulate");
}

TEST(EvalSet, ImpossibleRequestsAreNamed) {
  const TempFolder folder;
  EXPECT_ERROR(build_eval_set(config("200", 0), shipped_tokenizer(), books(), 3, folder / "x.json"), UsageError,
               "an evaluation set of 0 samples");
  EXPECT_ERROR(build_eval_set(config("4x"), shipped_tokenizer(), books(), 3, folder / "x.json"), UsageError,
               "length `4x`");
  EXPECT_ERROR(build_eval_set(config("12"), shipped_tokenizer(), books(), 3, folder / "x.json"), UsageError,
               "length 12: none of 131072 simulated qa1 samples fits");
  EXPECT_ERROR(build_eval_set(config("200"), shipped_tokenizer(), books(), 3, folder / "no/x.json"), Error,
               "no/x.json");
  EXPECT_EQ(test::num_files(folder), 0u);
}

}  // namespace
}  // namespace wt
