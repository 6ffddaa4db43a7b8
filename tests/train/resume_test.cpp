// Going on with a run: what may change, what may not, and what is written down of it.
#include "train/run/resume.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "core/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

std::string config_text(const std::string& run) {
  return cat("run: {dir: ", run, ", device: cpu, threads: 1}\n",
             "model: {hidden_size: 16, intermediate_size: 24, num_layers: 2, num_heads: 2, "
             "armt: {segment_size: 32, num_mem_tokens: 2, d_mem: 4}}\n",
             "data: {task: qa1, books: none, tokenizer: ", WAVETAPE_SOURCE_DIR,
             "/data/tokenizer/tokenizer.json, max_facts: 6}\n",
             "train: {batch_size: 2, log_every: 5, validation_samples: 4, checkpoint_every: 5, "
             "stages: [{segments: 2, steps: 10}]}\n",
             "eval: {lengths: [0k], samples: 2}\n");
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A run of ten steps that is done.
class Resume : public ::testing::Test {
 protected:
  void SetUp() override {
    write_file(config_, config_text(run_));
    const ProgramResult trained = run_program("train " + config_ + " --no-eval");
    ASSERT_EQ(trained.code, 0) << trained.err;
  }
  ProgramResult resume(const std::string& overrides, const std::string& what = "") const {
    return run_program(cat("train ", what.empty() ? config_ : what, " --resume --no-eval ", overrides));
  }
  void expect_refused(const std::string& overrides, const std::string& message) const {
    const std::string config = read_file(run_ + "/config.yaml");
    const ProgramResult result = resume(overrides);
    EXPECT_EQ(result.code, 2) << overrides << "\n" << result.out << result.err;
    EXPECT_TRUE(contains(result.err, message)) << result.err;
    EXPECT_EQ(read_file(run_ + "/config.yaml"), config);
    EXPECT_FALSE(fs::exists(run_ + "/config.1.yaml"));
  }
  Config now() const { return load_config(run_ + "/config.yaml"); }

  TempFolder folder_;
  std::string config_ = folder_ / "t.yaml", run_ = folder_ / "run";
};

TEST_F(Resume, RefusesWhatChangesWhatWasTrained) {
  expect_refused("model.armt.segment_size=16",
                 "model.armt.segment_size: is 16, but the run was trained with 32. Leave it out, or start a new run");
  expect_refused("model.armt.segment_size=16 'train.stages=[{segments: 2, steps: 10}, {segments: 2, steps: 10}]'",
                 "model.armt.segment_size: is 16, but the run was trained with 32");
  expect_refused("model.num_layers=3 seed.data=2",
                 "is 2, but the run was trained with 1; also model.num_layers: 3, until now 2");
  expect_refused("model.dropout=0.1", "model.dropout: is 0.1, but the run was trained with 0.0");
  expect_refused("model.lora='{rank: 1, alpha: 1, targets: [q_proj]}'",
                 "model.lora.rank: is 1, but the run was trained with none");
  expect_refused("run.dtype=f64", "run.dtype: is f64, but the run was trained with f32");
  expect_refused("data.task=qa2", "data.task: is qa2, but the run was trained with qa1");
  expect_refused("data.max_facts=5", "data.max_facts: is 5, but the run was trained with 6");
  expect_refused("data.babi=/nowhere", "data.babi: is /nowhere, but the run was trained with simulate");
  expect_refused("train.freeze=*.norm.weight", "train.freeze: is [\"*.norm.weight\"], but the run was trained with []");
  expect_refused("train.stages.0.segments=1", "train.stages.0.segments: is [1], but the run was trained with [2]");
  expect_refused("'train.stages=[{segments: 2, steps: 20, max_facts: 3}]'",
                 "train.stages.0.max_facts: is 3, but the run was trained with 6");
  expect_refused("train.stages.0.steps=4", "train.stages.0.steps: is 4, but the run has taken 10 steps of this stage");
  expect_refused("train.stages=[]", "train.stages: is empty");
  const ProgramResult other = resume("run.dir=" + folder_ / "other");
  EXPECT_EQ(other.code, 1);
  EXPECT_TRUE(contains(other.err, "holds no run to resume")) << other.err;
}

TEST_F(Resume, OtherFilesAreKnownByTheirContent) {
  const std::string tokenizer = std::string(WAVETAPE_SOURCE_DIR) + "/data/tokenizer/tokenizer.json";
  write_file(folder_ / "same.json", read_file(tokenizer));
  const ProgramResult same = resume("data.tokenizer=" + folder_ / "same.json");
  EXPECT_EQ(same.code, 0) << same.err;
  EXPECT_TRUE(contains(same.out, "data.tokenizer: ")) << same.out;
  const ProgramResult refused =
      resume(cat("data.tokenizer=", WAVETAPE_SOURCE_DIR, "/tests/fixtures/tokenizers/gpt2.json"));
  EXPECT_EQ(refused.code, 2) << refused.err;
  EXPECT_TRUE(contains(refused.err, "but the run was trained with that in ")) << refused.err;
}

TEST_F(Resume, MoreStepsTrainOnAndAreWrittenDown) {
  const ProgramResult more = resume("train.stages.0.steps=15 train.optimizer.lr=0.002 train.batch_size=3");
  ASSERT_EQ(more.code, 0) << more.err;
  EXPECT_TRUE(contains(more.out, "train.stages.0.steps: 15, until now 10\n")) << more.out;
  EXPECT_TRUE(contains(more.out, "train.stages.0.lr: 0.002, until now 0.001\n")) << more.out;
  EXPECT_TRUE(contains(more.out, "step 15/15 stage 1/1 ")) << more.out;
  EXPECT_TRUE(contains(read_file(run_ + "/log.txt"), "train.stages.0.steps: 15, until now 10\n"));
  EXPECT_EQ(now().train.stages[0].steps, 15);
  EXPECT_EQ(now().train.stages[0].lr, 0.002);
  EXPECT_EQ(load_config(run_ + "/config.1.yaml").train.stages[0].steps, 10);
  // Nothing given: as the folder has it now, not as the file has it.
  const ProgramResult again = resume("");
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_TRUE(contains(again.out, "trained 15 steps")) << again.out;
  EXPECT_FALSE(fs::exists(run_ + "/config.2.yaml"));
  const ProgramResult third = resume("train.stages.0.steps=16");
  ASSERT_EQ(third.code, 0) << third.err;
  EXPECT_EQ(load_config(run_ + "/config.2.yaml").train.stages[0].steps, 15);
}

TEST_F(Resume, AFurtherStageLeavesTheFirstAsItWas) {
  const ProgramResult result = resume(
      "train.optimizer.lr=0.002 'train.stages=[{segments: 2, steps: 10, lr: 1e-3}, {segments: [1, 2], steps: 5}]'");
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(contains(result.out, "train.stages.1.steps: 5, until now none\n")) << result.out;
  EXPECT_TRUE(contains(result.out, "step 15/15 stage 2/2 ")) << result.out;
  EXPECT_EQ(now().train.stages[0].lr, 1e-3);
  EXPECT_EQ(now().train.stages[1].lr, 0.002);
  // Stage 1 has begun; stage 0 is over, and keeps what it only inherits.
  const ProgramResult inherited = resume("train.optimizer.lr=0.003 train.stages.1.steps=6");
  ASSERT_EQ(inherited.code, 0) << inherited.err;
  EXPECT_EQ(now().train.stages[0].lr, 1e-3);
  EXPECT_EQ(now().train.stages[1].lr, 0.003);
  const ProgramResult past = resume("train.stages.0.lr=0.004");
  EXPECT_EQ(past.code, 2);
  EXPECT_TRUE(contains(past.err, "train.stages.0.lr: is 0.004, but the run was trained with 0.001")) << past.err;
  const ProgramResult fewer = resume("'train.stages=[{segments: 2, steps: 10, lr: 1e-3}]'");
  EXPECT_EQ(fewer.code, 2);
  EXPECT_TRUE(contains(fewer.err, "train.stages: has 1 entries, but the run is in stage 2")) << fewer.err;
}

TEST_F(Resume, TheFolderAloneIsEnough) {
  const std::string moved = folder_ / "moved";
  fs::rename(run_, moved);
  const ProgramResult result = resume("train.stages.0.steps=12", moved);
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(contains(result.out, "step 12/12 ")) << result.out;
  EXPECT_FALSE(fs::exists(run_));
  const ProgramResult elsewhere = resume("run.dir=" + run_, moved);
  EXPECT_EQ(elsewhere.code, 2);
  EXPECT_TRUE(contains(elsewhere.err, "is to go on")) << elsewhere.err;
  const ProgramResult without = run_program("train " + moved);
  EXPECT_EQ(without.code, 2);
  EXPECT_TRUE(contains(without.err, "is a run folder; go on in it with --resume")) << without.err;
}

// The first command's overrides hold, what was edited in the file since then holds as well.
TEST(ResumeFile, EditsCountAndForgottenOverridesStay) {
  const TempFolder folder;
  const std::string config = folder / "t.yaml", run = folder / "run";
  std::string text = config_text(run);
  write_file(config, text);
  ASSERT_EQ(run_program("train " + config + " --no-eval model.armt.num_mem_tokens=3 train.batch_size=3").code, 0);
  const ProgramResult same = run_program("train " + config + " --no-eval --resume");
  ASSERT_EQ(same.code, 0) << same.err;
  EXPECT_FALSE(contains(same.out, "until now")) << same.out;

  text.replace(text.find("steps: 10"), 9, "steps: 12");
  write_file(config, text);
  const ProgramResult edited = run_program("train " + config + " --no-eval --resume");
  ASSERT_EQ(edited.code, 0) << edited.err;
  EXPECT_TRUE(contains(edited.out, "train.stages.0.steps: 12, until now 10\n")) << edited.out;
  EXPECT_TRUE(contains(edited.out, "step 12/12 ")) << edited.out;
  EXPECT_EQ(load_config(run + "/config.yaml").model.armt->num_mem_tokens, 3);
  EXPECT_EQ(load_config(run + "/config.yaml").train.batch_size, 3);

  text.replace(text.find("num_mem_tokens: 2"), 17, "num_mem_tokens: 4");
  write_file(config, text);
  const ProgramResult refused = run_program("train " + config + " --no-eval --resume");
  EXPECT_EQ(refused.code, 2);
  EXPECT_TRUE(contains(refused.err, config + ":2: model.armt.num_mem_tokens: is 4, but the run was trained with 3"))
      << refused.err;
}

Config stages_of(const std::vector<std::string>& overrides = {}) {
  return parse_config(config_text("r"), "r/config.yaml", overrides);
}

TEST(ResumeRules, SamplesNeitherComeBackNorAreLeftOut) {
  const Config before = stages_of({"train.stages=[{steps: 10}, {steps: 10}, {steps: 10}]"});
  TrainState state;
  state.stage = 1;
  state.stage_step = 4;
  EXPECT_EQ(next_sample_offset(before, before, state), 0);
  for (const char* batch : {"1", "2", "5"}) {
    const Config now =
        stages_of({"train.stages=[{steps: 10}, {steps: 20, batch_size: " + std::string(batch) + "}, {steps: 10}]"});
    state.sample_offset = next_sample_offset(before, now, state);
    // The next sample is the 29th, and the stage behind begins where this one ends.
    const std::int64_t size = now.train.stages[1].batch_size;
    EXPECT_EQ(now.train.first_sample(1) + state.sample_offset + 4 * size, 28);
    EXPECT_EQ(now.train.first_sample(2) + state.sample_offset, 28 + 16 * size);
    state.sample_offset = 0;
  }
}

TEST(ResumeRules, AStageThatEndedEarlyStaysEnded) {
  const TempFolder folder;
  const std::string config = folder / "t.yaml", run = folder / "run";
  write_file(config, config_text(run));
  const std::string train = "train " + config + " --no-eval ";
  // Any loss is good enough: the stage ends with the validation after five steps.
  ASSERT_EQ(run_program(train + "train.validate_every=5 'train.stages=[{segments: 2, steps: 10, stop_metric: loss, "
                                "stop_at: 1000}]'")
                .code,
            0);
  const ProgramResult same = run_program(train + "--resume");
  EXPECT_TRUE(contains(same.out, "trained 5 steps")) << same.out << same.err;
  const ProgramResult other = run_program(train + "--resume train.stages.0.stop_at=0");
  EXPECT_TRUE(contains(other.out, "trained 10 steps")) << other.out << other.err;
}

}  // namespace
}  // namespace wt
