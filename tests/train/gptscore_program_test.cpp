// What `wavetape gptscore` writes and says.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "data/csv.h"
#include "data/tokenizer.h"
#include "tests/schedulers/support.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"
#include "tests/support/well_formed.h"
#include "train/eval/gptscore_results.h"
#include "train/models/model_io.h"

namespace wt {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const std::string kTokenizer = WAVETAPE_SOURCE_DIR "/tests/fixtures/tokenizers/gpt2.json";

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

ScoreLine line(const std::string& place, const std::string& system) {
  return {place, place.substr(place.find(':') + 1), system, "so, \"it\"", "h\n", {"r"}, ""};
}

ScoredLines scored() {
  ScoredLines out;
  out.aspects = {{"quality", "Q:"}, {"own", std::nullopt}};
  out.lines = {line("b:1", "b"), line("a:1", "a"), line("b:2", "b"), line("b:3", "b"), line("a:2", "a")};
  out.lines[1].references = {"r", "s\""};
  const PairScore low{-4, -2, -3, -4.0 / 3}, high{-2, -1, -1.5, -2.0 / 3};
  out.scores = {{{low, high}, 2.5}, {{high, {}}, {}}, {{high, high}, 1.5}, {{{}, {}}, {}}};  // the last is not whole
  return out;
}

TEST(GptScoreResults, AreCountedBySystemAndAspect) {
  const std::vector<SystemStatistics> systems = statistics_by_system(scored());
  ASSERT_EQ(systems.size(), 2u);
  EXPECT_EQ(systems[0].system, "b");
  EXPECT_EQ(systems[0].lines, 3);
  EXPECT_EQ(systems[0].without_score, 1);
  EXPECT_EQ(systems[1].lines, 1);
  EXPECT_EQ(systems[0].aspects[0].avg_f->count, 2u);
  EXPECT_EQ(systems[0].aspects[0].avg_f->median, -2.25);
  EXPECT_EQ(systems[0].aspects[0].ref_hypo->q1, -3.5);
  EXPECT_EQ(systems[0].reference_nll->mean, 2.0);
  EXPECT_FALSE(systems[1].aspects[1].avg_f || systems[1].reference_nll);
  EXPECT_EQ(
      gptscore_table(scored()),
      "aspect        system      n  avg_f mean   median       q1       q3  harm_f mean   median       q1       q3\n"
      "quality       b           2      -2.250   -2.250   -2.625   -1.875       -1.000   -1.000   -1.167   -0.833\n"
      "quality       a           1      -1.500   -1.500   -1.500   -1.500       -0.667   -0.667   -0.667   -0.667\n"
      "own           b           2      -1.500   -1.500   -1.500   -1.500       -0.667   -0.667   -0.667   -0.667\n"
      "own           a           0           -        -        -        -            -        -        -        -\n"
      "\n"
      "              system      n    nll mean   median       q1       q3\n"
      "reference_nll b           2       2.000    2.000    1.750    2.250\n"
      "reference_nll a           0           -        -        -        -\n");
  EXPECT_EQ(without_score(scored()), "1 of 4 lines has no score, since hypothesis or reference is empty: b:3");
  ScoredLines many = scored();
  many.scores.assign(5, {{{}, {}}, {}});
  many.lines.resize(5);
  EXPECT_TRUE(contains(without_score(many), "5 of 5 lines have no score")) << without_score(many);
  many.scores.clear();
  EXPECT_EQ(without_score(many), "");
}

TEST(GptScoreResults, AsCsv) {
  const std::string text = gptscore_csv(scored());
  const CsvTable table = parse_csv(text, "scores.csv");
  EXPECT_EQ(text.substr(0, text.find('\n')),
            "id,system,src,ref,hyp,quality_ref_hypo,quality_hypo_ref,quality_avg_f,quality_harm_f,own_ref_hypo,"
            "own_hypo_ref,own_avg_f,own_harm_f,reference_nll");
  ASSERT_EQ(table.rows.size(), 4u) << "only what is whole";
  EXPECT_EQ(table.rows[0].fields,
            (std::vector<std::string>{"1", "b", "so, \"it\"", "r", "h\n", "-4", "-2", "-3", "-1.3333333333333333", "-2",
                                      "-1", "-1.5", "-0.6666666666666666", "2.5"}));
  EXPECT_EQ(table.rows[1].fields[3], "[\"r\",\"s\\\"\"]");
  EXPECT_EQ(table.rows[1].fields[9] + table.rows[1].fields[13], "");
}

TEST(GptScoreResults, AsJson) {
  const Json json = Json::parse(gptscore_json(scored(), {"m\xff", "t.json", "f32", {}}));
  EXPECT_EQ(json["first_label"], "keep");
  EXPECT_EQ(json["max_tokens"], 1000);
  EXPECT_EQ(json["instructions"]["quality"], "Q:");
  EXPECT_TRUE(json["instructions"]["own"].is_null());
  EXPECT_EQ(json["systems"][0]["aspects"]["quality"]["avg_f"]["mean"], -2.25);
  EXPECT_EQ(json["systems"][0]["aspects"]["quality"]["harm_f"]["n"], 2);
  EXPECT_TRUE(json["systems"][1]["aspects"]["own"]["avg_f"].is_null());
  ASSERT_EQ(json["scores"].size(), 4u);
  EXPECT_EQ(json["scores"][2]["aspects"]["quality"]["ref_hypo"], -2);
  EXPECT_TRUE(json["scores"][3]["aspects"]["quality"].is_null());
  EXPECT_EQ(json["scores"][0]["reference_nll"], 2.5);
}

TEST(GptScoreResults, AsAPicture) {
  const std::string svg = gptscore_chart(scored(), "gpt2 <medium>");
  expect_well_formed(svg);
  for (const char* words :
       {"evaluator gpt2 &lt;medium&gt;", ">quality<", ">own<", ">reference_nll (lower is better)<"}) {
    EXPECT_TRUE(contains(svg, words)) << words;
  }
  ScoredLines without = scored();
  for (LineScores& scores : without.scores) scores.reference_nll.reset();
  EXPECT_FALSE(contains(gptscore_chart(without, "m"), "reference_nll"));
  EXPECT_FALSE(contains(gptscore_table(without), "reference_nll"));
}

class GptScoreProgram : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    ModelConfig config = tiny_config("gpt2", 2);
    config.armt.reset();
    config.vocab_size = Tokenizer::load(kTokenizer).vocab_size();
    config.max_positions = 96;
    fs::create_directory(at("vocabulary"));
    fs::copy(kTokenizer, at("vocabulary/tokenizer.json"));
    export_model(*tiny_model(config, DType::kF32), at("vocabulary"), at("model"));
    write_file(at("aspects.yaml"), "quality: 'Say it well:'\nplain: ''\n");
    write_file(
        at("first.jsonl"),
        "{\"id\": \"x\", \"source\": \"Where is Mary?\", \"hypothesis\": \"in the office\", \"reference\": \"She is "
        "in the office .\"}\n"
        "{\"hypothesis\": \"the milk\", \"reference\": [\"milk\", \"the apple\"]}\n"
        "{\"hypothesis\": \"\", \"reference\": \"here\"}\n");
    write_file(at("second.jsonl"),
               "{\"hypothesis\": \"a garden , and Mary 's milk\", \"reference\": \"garden\"}\n"
               "{\"system\": \"third\", \"hypothesis\": \"a\", \"reference\": \"b\"}\n");
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static std::string at(const std::string& name) { return *folder_ / name; }
  static ProgramResult score(const std::string& arguments) {
    return run_program(cat("gptscore --device cpu --model ", at("model"), " ", arguments));
  }
  static std::string both() {
    return cat("--input ", at("first.jsonl"), " ", at("second.jsonl"), " --instructions ", at("aspects.yaml"), " ");
  }
  static void fails(const std::string& arguments, int code, const std::string& what) {
    const ProgramResult result = score(arguments);
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_TRUE(contains(result.err, what)) << result.err;
  }

  static TempFolder* folder_;
};
TempFolder* GptScoreProgram::folder_ = nullptr;

TEST_F(GptScoreProgram, WritesTableFilesAndPicture) {
  const ProgramResult result = score(both() + "--output " + at("out"));
  ASSERT_EQ(result.code, 0) << result.err;
  for (const char* row : {"quality       first       2", "quality       second      1", "plain         third       1",
                          "reference_nll first       1", "reference_nll third       0"}) {
    EXPECT_TRUE(contains(result.out, row)) << row << "\n" << result.out;
  }
  EXPECT_TRUE(contains(result.err, "1 of 5 lines has no score, since hypothesis or reference is empty: "))
      << result.err;
  EXPECT_TRUE(contains(result.err, "first.jsonl:3\n")) << result.err;
  const CsvTable csv = read_csv(at("out/scores.csv"));
  const Json json = Json::parse(read_file(at("out/scores.json")));
  ASSERT_EQ(csv.rows.size(), 5u);
  ASSERT_EQ(json["scores"].size(), 5u);
  EXPECT_EQ(json["max_tokens"], 96);
  EXPECT_EQ(csv.rows[0].fields[0], "x");
  EXPECT_EQ(csv.rows[1].fields[csv.column("ref")], "[\"milk\",\"the apple\"]");
  const double avg = json["scores"][0]["aspects"]["quality"]["avg_f"];
  EXPECT_EQ(std::stod(csv.rows[0].fields[csv.column("quality_avg_f")]), avg);
  EXPECT_LT(avg, -1);
  EXPECT_NE(json["scores"][0]["aspects"]["plain"]["avg_f"].get<double>(), avg);
  expect_well_formed(read_file(at("out/gptscore.svg")));
  EXPECT_TRUE(contains(read_file(at("out/gptscore.svg")), "evaluator model"));
  // The same alone, in another number at a time and in double precision.
  const ProgramResult alone = score(cat("--input ", at("first.jsonl"), " --instructions ", at("aspects.yaml"),
                                        " --batch-size 1 --dtype f64 --max-tokens 96 --output ", at("alone")));
  ASSERT_EQ(alone.code, 0) << alone.err;
  const Json again = Json::parse(read_file(at("alone/scores.json")));
  EXPECT_NEAR(again["scores"][0]["aspects"]["quality"]["avg_f"].get<double>(), avg, 1e-4);
}

TEST_F(GptScoreProgram, FirstLabelsAndLengthsCount) {
  const auto first_score = [&](const std::string& more) {
    const ProgramResult result = score(both() + more + " --output " + at("other"));
    EXPECT_EQ(result.code, 0) << result.err;
    const Json json = Json::parse(read_file(at("other/scores.json")));
    return std::pair(json["scores"][0]["aspects"]["quality"]["ref_hypo"].get<double>(), result.err);
  };
  const double kept = first_score("--first-label keep").first;
  EXPECT_EQ(first_score("").first, kept);
  EXPECT_GT(std::abs(first_score("--first-label drop").first - kept), 1e-3);
  const auto [cut, said] = first_score("--max-tokens 16");
  EXPECT_GT(std::abs(cut - kept), 1e-3);
  EXPECT_TRUE(contains(said, " texts were cut to 16 tokens\n")) << said;
  // The default is all that the model reads.
  std::string words = "the";
  for (int i = 0; i < 100; ++i) words += " milk";
  write_file(at("long.jsonl"),
             cat("{\"hypothesis\": \"the milk\", \"reference\": \"", words, "\", \"source\": \"So\"}\n"));
  const ProgramResult all = score(cat("--input ", at("long.jsonl"), " --instructions ", at("aspects.yaml")));
  EXPECT_EQ(all.code, 0) << all.err;
  EXPECT_EQ(all.err,
            "wavetape: 4 of 5 texts were cut to 96 tokens, all that the model reads\n"
            "wavetape: for reference_nll 1 text was cut to what the model reads\n");
}

TEST_F(GptScoreProgram, LinesMayHaveTheirInstructions) {
  write_file(at("own.jsonl"), "{\"hypothesis\": \"a\", \"reference\": \"b\", \"instruction\": \"Say it well:\"}\n");
  const ProgramResult own = score(cat("--input ", at("own.jsonl"), " --output ", at("own")));
  ASSERT_EQ(own.code, 0) << own.err;
  EXPECT_TRUE(contains(own.out, "instruction   own         1")) << own.out;
  const ProgramResult given =
      score(cat("--input ", at("own.jsonl"), " --instructions ", at("aspects.yaml"), " --output ", at("given")));
  EXPECT_TRUE(contains(given.err, "--instructions stands for the \"instruction\" of 1 line\n"));
  EXPECT_EQ(Json::parse(read_file(at("own/scores.json")))["scores"][0]["aspects"]["instruction"],
            Json::parse(read_file(at("given/scores.json")))["scores"][0]["aspects"]["quality"]);
}

TEST_F(GptScoreProgram, FilesOfOneNameAreKeptApart) {
  fs::create_directories(at("runs/one"));
  fs::create_directories(at("runs/two"));
  for (const char* name : {"one", "two"}) fs::copy(at("second.jsonl"), at(cat("runs/", name, "/answers.jsonl")));
  const ProgramResult result = run_program(
      "gptscore --device cpu --model ../model --input one/answers.jsonl two/answers.jsonl --instructions "
      "../aspects.yaml",
      "cd '" + at("runs") + "';");
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(contains(result.out, "quality       one/answers.jsonl      1")) << result.out;
  EXPECT_TRUE(contains(result.out, "quality       two/answers.jsonl      1")) << result.out;
  EXPECT_TRUE(contains(result.out, "quality       third                  2")) << result.out;
}

// Ctrl-C: what an earlier run has left stays, and the lines that are whole stand beside it.
TEST_F(GptScoreProgram, AfterASignalWhatIsWholeIsKept) {
  std::string lines;
  for (int i = 0; i < 40000; ++i) {
    lines += cat("{\"hypothesis\": \"the milk ", i, "\", \"reference\": \"the office ", i, "\"}\n");
  }
  write_file(at("many.jsonl"), lines);
  for (const bool earlier : {false, true}) {
    const std::string out = at(earlier ? "stopped_again" : "stopped");
    fs::create_directory(out);
    for (const char* name : {"scores.csv", "scores.json", "gptscore.svg"}) {
      if (earlier) write_file(cat(out, "/", name), "all of it\n");
    }
    // A folder is made when signals are heard.
    const ProgramResult result = run_program(
        cat("gptscore --device cpu --model ", at("model"), " --input ", at("many.jsonl"), " --instructions ",
            at("aspects.yaml"), " --output ", out, "/made/.. & pid=$!; ", "for i in {1..600}; do [ -d '", out,
            "/made' ] && break; sleep 0.05; done; ", "sleep 3; kill -INT $pid; wait $pid"),
        "set +e; set -m;");
    EXPECT_EQ(result.code, 130) << result.err;
    const std::size_t said = result.err.find("stopped by signal 2; finished before it: ");
    ASSERT_NE(said, std::string::npos) << result.err;
    const int count = std::stoi(result.err.substr(said + 41));
    EXPECT_TRUE(contains(result.err, " of 40000 lines")) << result.err;
    ASSERT_GT(count, 0);
    ASSERT_LT(count, 40000);
    EXPECT_TRUE(contains(result.out, "quality       many"));
    const std::string ending = earlier ? ".partial" : "";
    EXPECT_EQ(read_csv(cat(out, "/scores.csv", ending)).rows.size(), static_cast<std::size_t>(count));
    EXPECT_EQ(Json::parse(read_file(cat(out, "/scores.json", ending)))["scores"].size(),
              static_cast<std::size_t>(count));
    if (!earlier) continue;
    EXPECT_EQ(read_file(out + "/scores.csv"), "all of it\n");
    EXPECT_TRUE(contains(result.err, "scores.json.partial; what was there stays)")) << result.err;
  }
}

TEST_F(GptScoreProgram, SaysWhatIsWrong) {
  fails("--input " + at("first.jsonl"), 2, "first.jsonl:1: no \"instruction\" in it: name a file of them with");
  fails("--input " + at("nowhere.jsonl"), 1, "cannot open " + at("nowhere.jsonl"));
  fails(both() + "--max-tokens 97", 2, "--max-tokens 97: the model reads at most 96 tokens");
  fails(both() + "--max-tokens 1", 2, "--max-tokens");
  fails(both() + "--first-label keeps", 2, "--first-label");
  fails(both() + "--first-lable keep", 2, "did you mean --first-label?");
  fails(both() + "--schedule diagonl", 2, "diagonl");
  fails(both() + "--tokenizer " WAVETAPE_SOURCE_DIR "/data/tokenizer/tokenizer.json", 2, "the model's vocabulary has");
  fails("", 2, "--input is required");
  EXPECT_EQ(run_program("gptscore --model " + at("nothing") + " " + both()).code, 2);
  write_file(at("bad.jsonl"), "{\"hypothesis\": \"a\", \"reference\": \"b\"}\n{\"hypothesis\": \"a\"}\n");
  fails(cat("--input ", at("bad.jsonl"), " --instructions ", at("aspects.yaml"), " --output ", at("none")), 1,
        "bad.jsonl:2: no \"reference\" in it");
  EXPECT_FALSE(fs::exists(at("none")));
  write_file(at("empty.jsonl"), "{\"hypothesis\": \" \", \"reference\": \"b\"}\n");
  fails(cat("--input ", at("empty.jsonl"), " --instructions ", at("aspects.yaml")), 1,
        "empty.jsonl: 1 of 1 lines has no score");
  fs::copy(at("model"), at("bare"));
  fs::remove(at("bare/tokenizer.json"));
  const ProgramResult bare = run_program("gptscore --model " + at("bare") + " " + both());
  EXPECT_EQ(bare.code, 2);
  EXPECT_TRUE(contains(bare.err, "no tokenizer.json there; name one with --tokenizer")) << bare.err;
}

}  // namespace
}  // namespace wt
