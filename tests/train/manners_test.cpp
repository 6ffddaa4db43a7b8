// The program among others: pipes, closed streams, its name, the environment.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "core/files.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"
#include "train/run/checkpoint.h"

namespace wt {
namespace {

const std::string kSource = WAVETAPE_SOURCE_DIR;
const std::string kModel = kSource + "/tests/fixtures/stories260K";

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A training of some steps, with a line for each.
std::string tiny_run(const TempFolder& folder) {
  write_file(folder / "config.yaml",
             cat("run: {dir: ", folder / "run", ", device: cpu, threads: 1}\n",
                 "model: {hidden_size: 8, intermediate_size: 8, num_layers: 1, num_heads: 1,\n",
                 "        armt: {segment_size: 32, num_mem_tokens: 1, d_mem: 2}}\n",
                 "data: {task: qa1, babi: simulate, books: none, tokenizer: ", kSource,
                 "/data/tokenizer/tokenizer.json}\n", "train: {batch_size: 2, log_every: 1, validation_samples: 4,\n",
                 "        stages: [{segments: 2, steps: 300, max_facts: 6}]}\n"));
  return "train '" + (folder / "config.yaml") + "' --no-eval";
}

TEST(Manners, AReaderThatHasSeenEnoughIsNoFailure) {
  // More tokens than can be written before `head` is gone.
  const ProgramResult text = run_program(
      "generate " + kModel + " --input-ids 1,403 --max-new-tokens 400 --ignore-eos | head -c 20", "set -o pipefail;");
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_EQ(text.err, "");
  EXPECT_EQ(text.out.size(), 20u);
  const ProgramResult file =
      run_program("data babi --stories 20000 --output /dev/stdout | head -1", "set -o pipefail;");
  EXPECT_EQ(file.code, 0) << file.err;
  EXPECT_EQ(file.err, "");
}

TEST(Manners, ATrainingGoesOnWithoutAReader) {
  const TempFolder folder;
  const ProgramResult result = run_program(tiny_run(folder) + " | head -1", "set -o pipefail;");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "wavetape: standard output cannot be written any more (Broken pipe): going on without it\n");
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 1);
  EXPECT_EQ(CheckpointStore(folder / "run", StoreMode::kRead).steps().back(), 300);
  EXPECT_TRUE(contains(read_file(folder / "run/log.txt"), "trained 300 steps"));
}

TEST(Manners, ANameThatIsNearlyAPresetIsToldWhichOne) {
  for (const auto& [typed, meant] : {std::pair{"llama-1B", "llama-1b"}, std::pair{"mamba2-2.7bb", "mamba2-2.7b"}}) {
    const ProgramResult result = run_program(cat("bench prefill --preset ", typed));
    EXPECT_EQ(result.code, 2) << result.err;
    EXPECT_TRUE(contains(result.err, cat("unknown preset '", typed, "', expected one of "))) << result.err;
    EXPECT_TRUE(contains(result.err, cat("did you mean ", meant, "?"))) << result.err;
  }
}

TEST(Manners, AFullDiskIsTheReasonThatIsGiven) {
  const std::string generate = "generate " + kModel + " --input-ids 1,403 --max-new-tokens 3";
  for (const std::string& arguments : {std::string("--help"), std::string("train --help"), std::string("--version"),
                                       generate, std::string("plan --layers 2 --segments 2")}) {
    const ProgramResult result = run_program(arguments + " >/dev/full");
    EXPECT_EQ(result.code, 1) << arguments;
    EXPECT_EQ(result.err, "wavetape: cannot write output: No space left on device\n") << arguments;
  }
  const TempFolder folder;
  const ProgramResult trained = run_program(tiny_run(folder) + " >/dev/full");
  EXPECT_EQ(trained.code, 1);
  EXPECT_TRUE(contains(trained.err, "\nwavetape: cannot write output: No space left on device\n")) << trained.err;
  EXPECT_EQ(CheckpointStore(folder / "run", StoreMode::kRead).steps().back(), 300) << "nothing of the work is lost";
}

TEST(Manners, ClosedStreamsTakeNoData) {
  const TempFolder folder;
  const std::string babi = "data babi --stories 20 --output ";
  ASSERT_EQ(run_program(babi + (folder / "open")).code, 0);
  const std::string wanted = read_file(folder / "open");
  for (const std::string closed : {">&-", "2>&-", "<&-", ">&- 2>&- <&-"}) {
    const std::string path = folder / "closed";
    EXPECT_EQ(run_program(babi + path + " " + closed).code, 0) << closed;
    EXPECT_EQ(read_file(path), wanted) << closed;
    EXPECT_EQ(run_program("generate " + kModel + " --input-ids 1,403 --max-new-tokens 3 " + closed).code, 0) << closed;
    EXPECT_EQ(run_program("tokenize /nonexistent --text x " + closed).code, 1) << closed;
  }
  const ProgramResult trained = run_program(tiny_run(folder) + " train.stages.0.steps=3 >&- 2>&- <&-");
  EXPECT_EQ(trained.code, 0);
  EXPECT_TRUE(contains(read_file(folder / "run/metrics.jsonl"), "{\"step\": 3,"));
  EXPECT_FALSE(contains(read_file(folder / "run/metrics.jsonl"), "trained")) << "lines for people are in log.txt";
}

// ps, top and the kernel's log show /proc/PID/comm.
TEST(Manners, TheProgramHasItsName) {
  const ProgramResult result = run_program(
      "tokenize " + kSource +
          "/data/tokenizer/tokenizer.json --file <(sleep 1) & pid=$!; "
          "for i in {1..100}; do name=$(tr '\\0' ' ' </proc/$pid/cmdline); [[ $name == *wavetape* ]] && break; "
          "sleep 0.01; done; sleep 0.1; cat /proc/$pid/comm; wait $pid",
      "unset GOMP_SPINCOUNT OMP_WAIT_POLICY;");
  EXPECT_EQ(result.out.substr(0, 9), "wavetape\n") << result.out << result.err;
}

TEST(Manners, ThreadsWithoutMeasureAreRefused) {
  const auto run_with = [](const std::string& variable) {
    return run_program("generate " + kModel + " --input-ids 1,403 --max-new-tokens 2", "export " + variable + ";");
  };
  for (const std::string count : {"100000", "99999999999"}) {
    const ProgramResult result = run_with("OMP_NUM_THREADS=" + count);
    EXPECT_EQ(result.code, 2) << result.err;
    EXPECT_TRUE(contains(result.err, "wavetape: OMP_NUM_THREADS is " + count + ", expected at most 4096 threads"))
        << result.err;
  }
  EXPECT_EQ(run_with("OMP_NUM_THREADS=64").code, 0);
  const ProgramResult small = run_with("OMP_STACKSIZE=16k");
  EXPECT_EQ(small.code, 2);
  EXPECT_TRUE(contains(small.err, "OMP_STACKSIZE is 16k, expected at least 512k")) << small.err;
  for (const std::string enough : {"512", "1M", "4 m", "8388608B", "1g", "no size"}) {
    EXPECT_EQ(run_with("OMP_STACKSIZE='" + enough + "'").code, 0) << enough;
  }
}

}  // namespace
}  // namespace wt
