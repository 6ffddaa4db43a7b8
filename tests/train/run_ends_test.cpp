// How runs begin and end: refused starts, signals, steps without a finite loss.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/files.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"
#include "train/run/checkpoint.h"
#include "train/run/provenance.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

class Run : public ::testing::Test {
 protected:
  void SetUp() override {
    write_file(folder_ / "t.yaml",
               cat("run: {dir: ", run_, ", device: cpu, threads: 1}\n",
                   "model: {hidden_size: 16, intermediate_size: 24, num_layers: 2, num_heads: 2, "
                   "armt: {segment_size: 32, num_mem_tokens: 2, d_mem: 4}}\n",
                   "data: {task: qa1, books: none, tokenizer: ", WAVETAPE_SOURCE_DIR,
                   "/data/tokenizer/tokenizer.json, max_facts: 6}\n",
                   "train: {batch_size: 2, log_every: 5, validation_samples: 4, checkpoint_every: 5, "
                   "stages: [{segments: 2, steps: 60}]}\n"));
  }
  std::string train(const std::string& overrides) const {
    return cat("train ", folder_ / "t.yaml", " --no-eval ", overrides);
  }
  // Started in the background, and sent a signal when `line` stands in its log. Ends with its exit code.
  ProgramResult signalled(const std::string& overrides, const std::string& line, const std::string& signal,
                          const std::string& before = "") const {
    const std::string wait =
        cat("for i in {1..3000}; do grep -q '", line, "' ", run_, "/log.txt 2>/dev/null && break; sleep 0.02; done");
    return run_program(cat(train(overrides), " & pid=$!; ", wait, "; kill -", signal, " $pid; wait $pid"),
                       "set +e; " + before);
  }
  std::vector<std::int64_t> checkpoints() const { return CheckpointStore(run_, StoreMode::kRead).steps(); }

  TempFolder folder_;
  std::string run_ = folder_ / "runs/a/run";
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

const char* const kDiverge = "train.optimizer.lr=1e30 train.clip_norm=0 train.warmup=0 train.lr_schedule=constant ";

TEST_F(Run, StepsSkippedInARowEndIt) {
  const ProgramResult result = run_program(train(kDiverge));
  EXPECT_EQ(result.code, 1) << result.out;
  EXPECT_TRUE(contains(result.err, "20 steps in a row")) << result.err;
  EXPECT_FALSE(contains(result.out, "-nan")) << result.out;
  EXPECT_TRUE(contains(result.err, "--resume begins anew")) << result.err;
  EXPECT_TRUE(contains(read_file(run_ + "/log.txt"), "20 steps in a row"));
  EXPECT_TRUE(checkpoints().empty());
  const ProgramResult better = run_program(train("--resume train.optimizer.lr=1e-3 train.stages.0.steps=5"));
  EXPECT_EQ(better.code, 0) << better.err;
}

TEST_F(Run, TheLastGoodCheckpointIsKeptFromSkippedSteps) {
  ASSERT_EQ(run_program(train("train.stages.0.steps=5 train.keep_checkpoints=1")).code, 0);
  const std::string weights = CheckpointStore(run_, StoreMode::kRead).folder_of(5) + "/weights.safetensors";
  const std::string before = read_file(weights);
  const ProgramResult result =
      run_program(train(cat("--resume train.stages.0.steps=60 train.max_skipped=7 ", kDiverge)));
  EXPECT_EQ(result.code, 1) << result.out;
  EXPECT_TRUE(contains(result.err, "7 steps in a row")) << result.err;
  EXPECT_TRUE(contains(result.err, "--resume goes on from step 5, before them")) << result.err;
  EXPECT_EQ(checkpoints(), std::vector<std::int64_t>{5});
  EXPECT_EQ(read_file(weights), before);
}

TEST_F(Run, WithoutAFiniteValidationThereIsNoBest) {
  const ProgramResult result = run_program(train(cat(kDiverge, "train.stages.0.steps=8 train.max_skipped=0")));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(contains(result.out, "best exact match of the last stage none")) << result.out;
  EXPECT_FALSE(contains(result.out, " -1")) << result.out;
  const std::string state = read_file(CheckpointStore(run_, StoreMode::kRead).folder_of(8) + "/state.json");
  EXPECT_TRUE(contains(state, "\"best_exact_match\": null")) << state;
}

TEST_F(Run, AClosedTerminalSavesIt) {
  const ProgramResult result = signalled("train.stages.0.steps=100000", "^step 5/", "HUP", "env --default-signal=HUP");
  EXPECT_EQ(result.code, 129) << result.err;
  EXPECT_TRUE(contains(read_file(run_ + "/log.txt"), "by signal 1; go on with --resume"));
  EXPECT_FALSE(checkpoints().empty());
}

TEST_F(Run, SignalsThatWereIgnoredStayIgnored) {
  const ProgramResult hangup = signalled("train.stages.0.steps=300", "^step 5/", "HUP", "trap '' HUP;");
  EXPECT_EQ(hangup.code, 0) << hangup.err;
  EXPECT_TRUE(contains(hangup.out, "trained 300 steps")) << hangup.out;
  fs::remove_all(run_);
  // A script's `&` lets its child ignore Ctrl-C.
  const ProgramResult interrupt = signalled("train.stages.0.steps=300", "^step 5/", "INT");
  EXPECT_EQ(interrupt.code, 0) << interrupt.err;
}

// A step of a hundred thousand samples: it is given up in the middle.
TEST_F(Run, ASignalDoesNotWaitForTheStep) {
  const std::string long_step = "train.grad_accumulation=50000 ";
  const ProgramResult result = signalled(long_step, "^stage 1/1", "TERM");
  EXPECT_EQ(result.code, 143) << result.err;
  EXPECT_TRUE(contains(result.out, "stopped at step 0 by signal 15")) << result.out;
  const ProgramResult resumed = run_program(train("--resume train.grad_accumulation=1 train.stages.0.steps=5"));
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_TRUE(contains(resumed.out, "step 5/5 ")) << resumed.out;
}

TEST_F(Run, WhatCannotFitIsRefusedWithWhatWould) {
  const ProgramResult batch = run_program(train("train.batch_size=100000000"));
  EXPECT_EQ(batch.code, 2) << batch.err;
  EXPECT_TRUE(contains(
      batch.err,
      "command line: 'train.batch_size=100000000': train.batch_size: is 100000000, for which stage 1 needs about "))
      << batch.err;
  EXPECT_TRUE(contains(batch.err, " fit; lower it")) << batch.err;
  EXPECT_TRUE(contains(batch.err, "train.activations: recompute")) << batch.err;
  const ProgramResult model = run_program(train("model.hidden_size=1000000 model.num_layers=1000"));
  EXPECT_EQ(model.code, 2) << model.err;
  EXPECT_TRUE(contains(model.err, "is 2, but in stage 1 even a batch of 1 needs about ")) << model.err;
  EXPECT_EQ(run_program(train("train.batch_size=100000000 --dry-run")).code, 2);
}

TEST_F(Run, AnOverrideThatDoesNotFitIsToBlame) {
  const ProgramResult result = run_program(train("train.log_every=7 data.min_facts=500 data.max_facts=0"));
  EXPECT_EQ(result.code, 2);
  EXPECT_TRUE(contains(result.err, "command line: 'data.min_facts=500': with it, ")) << result.err;
}

TEST_F(Run, SmokeRemovesNoFolderThatWasThere) {
  fs::create_directories(run_ + ".smoke");
  write_file(run_ + ".smoke/mine", "mine");
  const ProgramResult result = run_program(train("--smoke"));
  EXPECT_EQ(result.code, 2);
  EXPECT_TRUE(contains(result.err, ".smoke: exists already")) << result.err;
  EXPECT_EQ(read_file(run_ + ".smoke/mine"), "mine");
}

TEST_F(Run, AStartThatFailsLeavesNoFolder) {
  for (const char* wrong :
       {"data.babi=/nonexistent", "data.tokenizer=/nonexistent", "train.batch_size=100000000", "train.freeze=nothing",
        "run.dtype=bf16", "data.min_facts=500 data.max_facts=0", "train.stages=[]"}) {
    const ProgramResult result = run_program(train(wrong));
    EXPECT_NE(result.code, 0) << wrong;
    EXPECT_FALSE(fs::exists(folder_ / "runs")) << wrong << "\n" << result.err;
  }
}

TEST_F(Run, MaxStepsStopAndSave) {
  const ProgramResult result = run_program(train("--max-steps 7"));
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(contains(result.out, "step 5/7 ")) << result.out;
  EXPECT_TRUE(contains(result.out, "stopped at step 7 of 60 as --max-steps asks; go on with --resume")) << result.out;
  EXPECT_EQ(checkpoints().back(), 7);
  const ProgramResult resumed = run_program(train("--resume train.stages.0.steps=10"));
  EXPECT_TRUE(contains(resumed.out, "step 10/10 ")) << resumed.out << resumed.err;
}

TEST_F(Run, SmokeTriesEveryStageAndLeavesNothing) {
  const ProgramResult result =
      run_program(cat("train ", folder_ / "t.yaml",
                      " --smoke train.validation_samples=1000000 eval.lengths=0k,0k eval.samples=1000000 ",
                      "'train.stages=[{segments: 2, steps: 60}, {segments: 3, steps: 60, warmup: 20}]'"));
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(contains(result.out, "step 4/4 stage 2/2 ")) << result.out;
  EXPECT_TRUE(contains(result.out, "0k")) << "evaluated: " << result.out;
  EXPECT_FALSE(fs::exists(run_));
  EXPECT_FALSE(fs::exists(run_ + ".smoke"));
}

TEST_F(Run, SeedsMakeARunEach) {
  const ProgramResult result = run_program(train("--max-steps 3 --seeds 1,2 train.keep_checkpoints=4"));
  ASSERT_EQ(result.code, 0) << result.err;
  const auto weights = [&](int seed, int step) {
    return read_file(cat(run_, "/seed-", seed, "/checkpoints/step_0000000", step, "/weights.safetensors"));
  };
  EXPECT_NE(weights(1, 3), weights(2, 3));
  // Those that have begun go on, the others begin.
  ASSERT_EQ(run_program(train("--resume --max-steps 5 --seeds 2,3 train.keep_checkpoints=4")).code, 0);
  EXPECT_TRUE(contains(read_file(run_ + "/seed-2/config.yaml"), "weights: 2"));
  EXPECT_NE(weights(2, 5), weights(3, 5));
  const ProgramResult report = run_program(cat("report ", run_, "/seed-1 ", run_, "/seed-2 --output ", run_, ".html"));
  ASSERT_EQ(report.code, 0) << report.err;
  EXPECT_TRUE(contains(read_file(run_ + ".html"), "run (2 seeds)"));
  const ProgramResult folder = run_program(cat("train ", run_, "/seed-1 --seeds 4"));
  EXPECT_EQ(folder.code, 2);
  EXPECT_TRUE(contains(folder.err, "a run folder is of one seed")) << folder.err;
}

TEST_F(Run, ItSaysWhereItsNumbersComeFrom) {
  ASSERT_EQ(run_program(train("train.stages.0.steps=10 run.threads=1")).code, 0);
  ASSERT_EQ(run_program(train("--resume train.stages.0.steps=15")).code, 0);
  std::vector<nlohmann::json> starts, metrics;
  for (const auto& [name, lines] : {std::pair{"/starts.jsonl", &starts}, {"/metrics.jsonl", &metrics}}) {
    std::istringstream text(read_file(run_ + name));
    for (std::string line; std::getline(text, line);) lines->push_back(nlohmann::json::parse(line));
  }
  ASSERT_EQ(starts.size(), 2u);
  EXPECT_EQ(starts[0]["step"], 0);
  EXPECT_EQ(starts[1]["step"], 10);
  EXPECT_EQ(starts[0]["version"], "0.1.0");
  EXPECT_EQ(starts[0]["device"], "cpu");
  EXPECT_EQ(starts[0]["threads"], 1);
  for (const char* key : {"time", "commit", "host", "cpu", "cores", "gpu", "dtype"}) {
    EXPECT_TRUE(starts[0].contains(key)) << key;
  }
  EXPECT_TRUE(contains(starts[1]["command"].get<std::string>(), "--resume train.stages.0.steps=15"));
  EXPECT_GE(starts[1]["peak_gflops"], starts[0]["peak_gflops"]) << "the best that was measured holds";
  double before = 0;
  std::int64_t tokens = 0;
  for (const nlohmann::json& line : metrics) {
    EXPECT_GE(line["seconds"].get<double>(), before);
    EXPECT_GE(line["tokens"].get<std::int64_t>(), tokens);
    EXPECT_GT(line["time"].get<double>(), 1.6e9);
    EXPECT_LE(line.value("mfu", 0.0), 1);
    before = line["seconds"];
    tokens = line["tokens"];
  }
  EXPECT_GT(tokens, 0);
}

TEST(Provenance, ThePeakIsTheBestOfTheSameMachine) {
  Machine machine;
  machine.host = "a";
  machine.cpu = "c";
  machine.device = "cpu";
  machine.dtype = "f32";
  machine.threads = 2;
  const std::string lines = start_record(machine, 0, 50) + "\n" + start_record(machine, 3, 40) + "\nno json\n{}\n";
  EXPECT_EQ(best_peak(lines, machine), 50);
  machine.threads = 4;
  EXPECT_EQ(best_peak(lines, machine), 0);
  EXPECT_EQ(utc_time(1795778733.9), "2026-11-27T11:25:33Z");
}

}  // namespace
}  // namespace wt
