#include "train/report/run_group.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/well_formed.h"
#include "train/report/charts.h"
#include "train/report/report.h"

namespace wt {
namespace {

RunRecord run(const std::string& name, const std::string& seed, const std::string& lr, const std::string& metrics) {
  RunRecord out;
  out.name = name;
  out.folder = "runs/qa1/" + name;
  out.config = {{"seed.weights", seed}, {"seed.data", "1"}, {"run.dir", name}, {"train.optimizer.lr", lr}};
  out.metrics = parse_metrics(metrics, "m");
  return out;
}

RunRecord evaluated(RunRecord run, std::int64_t correct) {
  EvalRow row;
  row.task = "qa1";
  row.length = "4k";
  row.samples = 10;
  row.correct = row.official = correct;
  row.chance = 0.25;
  run.evaluation = {row};
  return run;
}

TEST(RunGroup, RunsThatDifferInSeedsOnlyAreOne) {
  const std::vector<RunRecord> runs{run("a", "1", "1e-3", ""), run("b", "1", "2e-3", ""), run("c", "2", "1e-3", ""),
                                    run("d", "1", "1e-3", "")};
  const std::vector<RunGroup> groups = group_by_seed(runs);
  ASSERT_EQ(groups.size(), 3u);
  EXPECT_EQ(groups[0].runs, (std::vector<std::size_t>{0, 2}));
  EXPECT_EQ(groups[0].name, "qa1 (2 seeds)");
  EXPECT_EQ(groups[1].name, "b");
  EXPECT_EQ(groups[2].runs, (std::vector<std::size_t>{3})) << "the seed of a again: no other sample of chance";
  std::vector<RunRecord> unread{runs[0], runs[2]};
  for (RunRecord& r : unread) r.config.clear();
  EXPECT_EQ(group_by_seed(unread).size(), 2u) << "nothing is known of what they share";
}

TEST(RunGroup, CurvesAreMeansBetweenSmallestAndLargest) {
  const std::vector<RunRecord> runs{
      run("a", "1", "1", "{\"step\": 0, \"loss\": 4}\n{\"step\": 10, \"loss\": 2}\n{\"step\": 20, \"loss\": 1}\n"),
      run("b", "2", "1", "{\"step\": 0, \"loss\": 6}\n{\"step\": 20, \"loss\": 2}\n{\"step\": 30, \"loss\": 1}\n")};
  const GroupCurve curve = group_curve(runs, group_by_seed(runs)[0], "loss", CurveAxis::kSteps);
  EXPECT_EQ(curve.x, (std::vector<double>{0, 10, 20, 30}));
  EXPECT_EQ(curve.mean, (std::vector<double>{5, 3, 1.5, 1})) << "b is 4 at step 10; a has ended before 30";
  EXPECT_EQ(curve.low, (std::vector<double>{4, 2, 1, 1}));
  EXPECT_EQ(curve.high, (std::vector<double>{6, 4, 2, 1}));
  const GroupCurve alone = group_curve(runs, {"a", {0}}, "loss", CurveAxis::kSteps);
  EXPECT_EQ(alone.mean, (std::vector<double>{4, 2, 1}));
  EXPECT_TRUE(alone.low.empty());
  const std::vector<RunRecord> broken{
      runs[1], run("c", "3", "1", "{\"step\": 0, \"loss\": 1}\n{\"step\": 20, \"loss\": null}\n")};
  const GroupCurve gap = group_curve(broken, group_by_seed(broken)[0], "loss", CurveAxis::kSteps);
  EXPECT_EQ(gap.mean[0], 3.5);
  EXPECT_TRUE(std::isnan(gap.mean[1]) && std::isnan(gap.high[1]));
}

TEST(RunGroup, AxesAreTheRunsOwnFigures) {
  const RunRecord r = run("a", "1", "1",
                          "{\"step\": 10, \"loss\": 3, \"tokens\": 1000, \"seconds\": 3600}\n"
                          "{\"step\": 15, \"validation_loss\": 2}\n"
                          "{\"step\": 20, \"loss\": 2, \"tokens\": 3000, \"seconds\": 10800}\n");
  EXPECT_EQ(axis_value(r.metrics, CurveAxis::kSteps, 15), 15);
  EXPECT_EQ(axis_value(r.metrics, CurveAxis::kTokens, 15), 2000);
  EXPECT_EQ(axis_value(r.metrics, CurveAxis::kTokens, 5), 500);
  EXPECT_EQ(axis_value(r.metrics, CurveAxis::kHours, 20), 3);
  EXPECT_TRUE(std::isnan(axis_value(r.metrics, CurveAxis::kTokens, 21)));
  EXPECT_TRUE(std::isnan(axis_value(parse_metrics("{\"step\": 1, \"loss\": 1}\n", "m"), CurveAxis::kHours, 1)));
  const GroupCurve curve = group_curve({r}, {"a", {0}}, "loss", CurveAxis::kHours);
  EXPECT_EQ(curve.x, (std::vector<double>{1, 3}));
}

TEST(RunGroup, TheReportShowsSeedsAsMeanAndBand) {
  const std::string lines =
      "{\"step\": 10, \"stage\": 1, \"loss\": 3, \"tokens\": 1000}\n"
      "{\"step\": 20, \"stage\": 1, \"loss\": 2, \"tokens\": 3000}\n";
  const std::string other =
      "{\"step\": 10, \"stage\": 1, \"loss\": 4, \"tokens\": 1000}\n"
      "{\"step\": 20, \"stage\": 1, \"loss\": 1, \"tokens\": 3000}\n";
  const std::string page =
      report_html("seeds", {evaluated(run("a", "1", "1", lines), 6), evaluated(run("b", "2", "1", other), 10)});
  expect_well_formed(page);
  for (const char* part :
       {"<span class=\"run\"><svg", "qa1 (2 seeds)", "id=\"axis-steps\" checked=\"checked\"", "id=\"axis-tokens\"",
        "over-tokens", "<polygon", "80.0 (60–100)", "60.0, 100.0", "<title>chance: 25 %</title>"}) {
    EXPECT_NE(page.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(page.find("id=\"axis-hours\""), std::string::npos) << "no run says how long it took";
  EXPECT_EQ(page.find("stroke=\"" + line_colour(1) + "\""), std::string::npos) << "one group, one colour";
  const std::string alone = report_html("one", {evaluated(run("a", "1", "1", lines), 10)});
  EXPECT_NE(alone.find("100.0 (72–100)"), std::string::npos) << "Wilson's interval of 10 of 10";
  EXPECT_EQ(alone.find("<polygon"), std::string::npos);
}

}  // namespace
}  // namespace wt
