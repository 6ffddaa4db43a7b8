#include "train/eval/gptscore_input.h"

#include <gtest/gtest.h>

#include "core/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_folder.h"

namespace wt {
namespace {

std::vector<ScoreLine> parse(const std::string& text) {
  return parse_score_lines(text, "a.jsonl", "a");
}

TEST(ScoreLines, HaveTheirFieldsAndDefaults) {
  const std::vector<ScoreLine> lines = parse(
      "\xEF\xBB\xBF{\"hypothesis\": \"H\\n\\u00e9\", \"reference\": \"R\"}\r\n"
      "\n"
      "  {\"id\": 7, \"system\": \"other\", \"source\": \"S\", \"hypothesis\": \"\", \"reference\": [\"R1\", \"\"],"
      " \"instruction\": \"I\", \"more\": {\"x\": [1]}}\n"
      "{\"id\": \"x\", \"system\": \"\", \"source\": null, \"instruction\": null, \"hypothesis\": \"h\", "
      "\"reference\": \"r\"}");
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].place, "a.jsonl:1");
  EXPECT_EQ(lines[0].id, "1");
  EXPECT_EQ(lines[0].system, "a");
  EXPECT_EQ(lines[0].hypothesis, "H\n\u00e9");
  EXPECT_EQ(lines[0].references, std::vector<std::string>{"R"});
  EXPECT_EQ(lines[0].source + lines[0].instruction, "");
  EXPECT_EQ(lines[1].place, "a.jsonl:3");
  EXPECT_EQ(lines[1].id, "7");
  EXPECT_EQ(lines[1].system, "other");
  EXPECT_EQ(lines[1].source, "S");
  EXPECT_EQ(lines[1].references, (std::vector<std::string>{"R1", ""}));
  EXPECT_EQ(lines[1].instruction, "I");
  EXPECT_EQ(lines[2].id, "x");
  EXPECT_EQ(lines[2].system, "a");
}

TEST(ScoreLines, MistakesAreNamedWithTheirLine) {
  const std::string good = "{\"hypothesis\": \"h\", \"reference\": \"r\"}\n";
  const auto expect = [&](const std::string& line, const std::string& what) {
    EXPECT_ERROR(parse(good + "\n" + line), Error, "a.jsonl:3: " + what);
  };
  expect("{\"hypothesis\": \"h\"}", "no \"reference\" in it");
  expect("{\"hypotesis\": \"h\", \"reference\": \"r\"}", "hypotesis: unknown key, did you mean hypothesis?");
  expect("{\"hypothesis\": \"h\", \"references\": [\"r\"]}", "references: unknown key, did you mean reference?");
  expect("{\"hypothesis\": 5, \"reference\": \"r\"}", "hypothesis: is 5, expected text");
  expect("{\"hypothesis\": null, \"reference\": \"r\"}", "hypothesis: is null, expected");
  expect("{\"hypothesis\": \"h\", \"reference\": null}", "reference: is null, expected");
  expect("{\"hypothesis\": \"h\", \"reference\": []}", "reference: is a list, expected a list of texts");
  expect("{\"hypothesis\": \"h\", \"reference\": [\"r\", 1]}", "reference: is a list, expected a list of texts");
  expect("{\"hypothesis\": \"h\", \"reference\": \"r\", \"id\": 1.5}", "id: is 1.5, expected text");
  expect("{\"hypothesis\": \"h\", \"reference\": \"r\", \"system\": 1}", "system: is 1, expected text");
  expect("{\"hypothesis\": \"h\", \"reference\": \"r\", \"source\": [\"s\"]}", "source: is a list, expected text");
  expect("\"text\"", "is \"text\", expected an object");
  expect("{\"hypothesis\": \"h\", \"reference\": \"r\"", "not valid JSON near byte");
  expect("{\"hypothesis\": \"\xff\", \"reference\": \"r\"}", "not valid JSON near byte");
  expect(std::string(300, '['), "lists or objects stand too deep in each other");
  EXPECT_ERROR(parse(" \n\n"), Error, "a.jsonl: no lines in it");
  EXPECT_ERROR(read_score_lines("/nowhere/a.jsonl", "a"), Error, "/nowhere/a.jsonl");
}

std::string shown(const std::vector<Aspect>& aspects) {
  std::string out;
  for (const Aspect& aspect : aspects) out += aspect.name + "=" + aspect.sentence.value_or("none") + ";";
  return out;
}

TEST(Aspects, ComeFromYamlAndJsonInTheirOrder) {
  const std::string wanted = "quality=Say: it;again=;a=5;";
  EXPECT_EQ(shown(parse_aspects("quality: 'Say: it'\nagain: \"\"\na: 5\n", "a.yaml")), wanted);
  EXPECT_EQ(shown(parse_aspects(R"({"quality": "Say: it", "again": "", "a": "5"})", "a.json")), wanted);
  EXPECT_EQ(shown(parse_aspects(R"({"quality": "Say: it", "again": "", "a": "5"})", "a.yaml")), wanted);
  EXPECT_EQ(shown(parse_aspects(R"({"q": "\ud83d\ude42 so"})", "a.json")), "q=\U0001f642 so;");
  // GPTScore's own files.
  EXPECT_EQ(shown(parse_aspects(R"({"demo": {"q": [{"src": "x"}]}, "asp_definition": {"q": "Q"}})", "d.json")), "q=Q;");
  EXPECT_EQ(shown(parse_aspects("asp_definition:\n  q: Q\n  r: R\ndemo: []\n", "d.yaml")), "q=Q;r=R;");
  const TempFolder folder;
  write_file(folder / "a.yaml", "q: Q\n");
  EXPECT_EQ(shown(read_aspects(folder / "a.yaml")), "q=Q;");
}

TEST(Aspects, MistakesAreNamedWithTheirPlace) {
  EXPECT_ERROR(parse_aspects("q: Q\nr: [a]\n", "a.yaml"), UsageError, "a.yaml:2: r is a list, expected a sentence");
  EXPECT_ERROR(parse_aspects("q: Q\nr:\n", "a.yaml"), UsageError, "a.yaml:2: r is empty, expected a sentence");
  EXPECT_ERROR(parse_aspects("q: Q\nq: R\n", "a.yaml"), UsageError, "a.yaml:2: the key q stands twice");
  EXPECT_ERROR(parse_aspects("- q\n", "a.yaml"), UsageError, "a.yaml:1: is a list, expected aspects");
  EXPECT_ERROR(parse_aspects("", "a.yaml"), UsageError, "expected aspects and their sentences");
  EXPECT_ERROR(parse_aspects("{}", "a.yaml"), UsageError, "a.yaml: no aspects in it");
  EXPECT_ERROR(parse_aspects("' ': x", "a.yaml"), UsageError, "a.yaml: an aspect has no name");
  EXPECT_ERROR(parse_aspects("asp_definition: {q: [1]}", "a.yaml"), UsageError, "a.yaml:1: q is a list");
  EXPECT_ERROR(parse_aspects("{", "a.json"), Error, "a.json: not valid JSON");
  EXPECT_ERROR(parse_aspects("[]", "a.json"), Error, "a.json: expected an object of aspects");
  EXPECT_ERROR(parse_aspects("{\"q\": 1}", "a.json"), Error, "a.json: q: expected a sentence in quotes");
  EXPECT_ERROR(parse_aspects("{\"asp_definition\": 1}", "a.json"), Error, "a.json: expected an object of aspects");
  EXPECT_ERROR(parse_aspects("{}", "a.json"), UsageError, "a.json: no aspects in it");
  EXPECT_ERROR(read_aspects("/nowhere/a.yaml"), Error, "/nowhere/a.yaml");
}

}  // namespace
}  // namespace wt
