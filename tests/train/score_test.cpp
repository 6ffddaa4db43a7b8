#include "train/eval/score.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "core/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"

namespace wt {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Two tasks at three lengths under one configuration, one cell under another.
void write_results(const TempFolder& folder) {
  const std::string head = ",target,output,question\n";
  write_file(folder / "qa1_0k_a_b.csv",
             head + "0,office,office,Where is Mary? \n1,garden,In the garden.,Where is John? \n");
  write_file(folder / "qa1_4k_a_b.csv", head + "0,office,kitchen,Where is Mary? \n1,garden,garden,Where is John? \n");
  write_file(folder / "qa1_1M_a_b.csv", head + "0,office,,Where is Mary? \n");
  // qa10 goes behind qa2, 1M behind 4k.
  write_file(folder / "qa10_0k_a_b.csv", head + "0,maybe,maybe,Is Mary in the office?\n");
  write_file(folder / "qa10_4k_a_b.csv", head + "0,no,\"no\",Is Mary in the office?\n");
  write_file(folder / "qa2_0k_a_b.csv", head + "0,office,office,Where is the milk? \n");
  write_file(folder / "qa2_4k_a_b.csv", head + "0,office,office,Where is the milk? \n1,office,x,Where is the milk? \n");
  write_file(folder / "qa2_1M_a_b.csv", head + "0,office,x,Where is the milk? \n");
  write_file(folder / "qa8_4k_c.csv", head + "0,\"apple,milk\",\"milk,apple\",What is Mary carrying? \n");
}

TEST(Score, CountsByTaskAndLength) {
  const TempFolder folder;
  write_results(folder);
  const std::vector<ScoreCell> cells = score_folder(folder.path());
  EXPECT_EQ(score_csv(cells),
            "task,length,config,samples,correct,accuracy,accuracy_low,accuracy_high\n"
            "qa1,0k,a_b,2,2,1.000000,0.342380,1.000000\n"
            "qa1,4k,a_b,2,1,0.500000,0.094531,0.905469\n"
            "qa1,1M,a_b,1,0,0.000000,0.000000,0.793451\n"
            "qa2,0k,a_b,1,1,1.000000,0.206549,1.000000\n"
            "qa2,4k,a_b,2,1,0.500000,0.094531,0.905469\n"
            "qa2,1M,a_b,1,0,0.000000,0.000000,0.793451\n"
            "qa10,0k,a_b,1,1,1.000000,0.206549,1.000000\n"
            "qa10,4k,a_b,1,1,1.000000,0.206549,1.000000\n"
            "qa8,4k,c,1,1,1.000000,0.206549,1.000000\n");
  EXPECT_EQ(score_table(cells),
            "a_b\n"
            "task         0k       4k       1M     mean\n"
            "qa1    100.0±33  50.0±41   0.0±40     50.0\n"
            "qa2    100.0±40  50.0±41   0.0±40     50.0\n"
            "qa10   100.0±40 100.0±40        -        -\n"
            "mean      100.0     66.7        -        -\n"
            "\n"
            "c\n"
            "task         4k     mean\n"
            "qa8    100.0±40    100.0\n"
            "mean      100.0    100.0\n");
  const std::vector<HeatmapPanel> panels = score_panels(cells);
  ASSERT_EQ(panels.size(), 2u);
  EXPECT_EQ(panels[0].columns, (std::vector<std::string>{"0k", "4k", "1M"}));
  EXPECT_EQ(panels[0].cells[1][1].tooltip, "qa2 4k: 50.0 %, 1 of 2; 95 % interval 9.5 to 90.5 %");
  EXPECT_FALSE(panels[0].cells[2][2].share.has_value());
}

// What other programs make of the same answers: byte order mark, CR LF, columns in another order and more of them, text
// over several lines.
TEST(Score, ReadsWhatOthersWrite) {
  const TempFolder folder;
  write_file(folder / "qa1_16x_spreadsheet.csv",
             "\xEF\xBB\xBFquestion,output,note,target\r\n"
             "\"Where is \"\"Mary\"\"?\",\"The office\r\nis it, I think\",\"a,b\",office\r\n"
             "Where is John?,\"office\n\nkitchen\",,office\r\n"
             "\r\n"
             "Where is John?,the 19\" office,,office\r\n"
             "Where is John?,\"\",,office");
  const std::vector<ScoreCell> cells = score_folder(folder.path());
  ASSERT_EQ(cells.size(), 1u);
  EXPECT_EQ(cells[0].samples, 4);
  EXPECT_EQ(cells[0].correct, 2);
  EXPECT_EQ(cells[0].length, "16x");
  EXPECT_EQ(cells[0].config, "spreadsheet");
}

TEST(Score, DamageIsNamedWithFileAndLine) {
  const auto expect = [](const std::string& name, const std::string& text, const std::string& what) {
    const TempFolder folder;
    write_file(folder / name, text);
    EXPECT_ERROR(score_folder(folder.path()), Error, what);
  };
  const std::string good = ",target,output,question\n0,office,office,Where?\n";
  expect("qa1_4k_x.csv", "", "/qa1_4k_x.csv:1: the file is empty");
  expect("qa1_4k_x.csv", ",target,output,question\n", "/qa1_4k_x.csv:1: no sample");
  expect("qa1_4k_x.csv", ",target,answer,question\n0,a,b,c\n", "/qa1_4k_x.csv:1: no column \"output\"");
  expect("qa1_4k_x.csv", good + "1,office\n", "/qa1_4k_x.csv:3: a row of 2 fields, the header has 4");
  expect("qa1_4k_x.csv", good + "1,office,\"open,Where?\n", "/qa1_4k_x.csv:3: a quote is opened here and never closed");
  expect("qa1_4k_x.csv", good + "1,,office,Where?\n", "/qa1_4k_x.csv:3: the target is empty");
  expect("qa21_4k_x.csv", good, "qa21_4k_x.csv: expected a name like qa1_4k_CONFIG.csv: task `qa21`");
  expect("qa1_4q_x.csv", good, "qa1_4q_x.csv: expected a name like qa1_4k_CONFIG.csv");
}

TEST(Score, FoldersWithoutResultsAreRefused) {
  const TempFolder folder;
  EXPECT_ERROR(score_folder(folder.path()), UsageError, "no file named TASK_LENGTH_CONFIG.csv");
  std::filesystem::create_directory(folder / "model");
  EXPECT_ERROR(score_folder(folder.path()), UsageError, "name one of the folders in it");
  EXPECT_ERROR(score_folder(folder / "none"), UsageError, "cannot be listed");
  write_file(folder / "qa1_4k.csv", ",target,output,question\n0,office,office,Where?\n");
  write_file(folder / "eval.csv", "whatever");
  write_file(folder / "qa1_4k.json", "{}");
  std::vector<std::string> said;
  const std::vector<ScoreCell> cells =
      score_folder(folder.path(), [&](const std::string& line) { said.push_back(line); });
  ASSERT_EQ(cells.size(), 1u);
  EXPECT_EQ(cells[0].config, "");
  ASSERT_EQ(said.size(), 1u);
  EXPECT_TRUE(contains(said[0], "eval.csv: left out, not named TASK_LENGTH_CONFIG.csv"));
}

TEST(Score, TheProgramWritesTableAndPicture) {
  const TempFolder folder, out;
  write_results(folder);
  const ProgramResult result = run_program(cat("score ", folder.path(), " --output ", out / "scores.csv", " --plot ",
                                               out / "scores.svg", " --title 'tiny & <new>'"));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, score_table(score_folder(folder.path())));
  EXPECT_EQ(read_file(out / "scores.csv"), score_csv(score_folder(folder.path())));
  const std::string svg = read_file(out / "scores.svg");
  EXPECT_TRUE(contains(svg, "tiny &amp; &lt;new&gt;"));
  EXPECT_TRUE(contains(svg, "<title>qa2 4k: 50.0 %, 1 of 2; 95 % interval 9.5 to 90.5 %</title>"));
  write_file(folder / "qa3_4k_a_b.csv", "x\n");
  const ProgramResult failed = run_program("score " + folder.path());
  EXPECT_EQ(failed.code, 1);
  EXPECT_TRUE(contains(failed.err, "qa3_4k_a_b.csv:1: no column \"target\"")) << failed.err;
  EXPECT_EQ(run_program("score " + (folder / "none")).code, 2);
  EXPECT_EQ(run_program("score").code, 2);
}

}  // namespace
}  // namespace wt
