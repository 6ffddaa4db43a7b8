// The program from outside: exit codes, one-line errors, what the commands print.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "core/files.h"
#include "core/safetensors.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"
#include "train/config.h"
#include "train/metrics.h"
#include "train/run/checkpoint.h"

namespace wt {
namespace {

const std::string kSource = WAVETAPE_SOURCE_DIR;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// The program must end with this code and one line "wavetape: …" that contains `message`.
void expect_failure(const std::string& arguments, int code, const std::string& message) {
  const ProgramResult result = run_program(arguments);
  EXPECT_EQ(result.code, code) << arguments << "\n" << result.err;
  EXPECT_EQ(result.err.rfind("wavetape: ", 0), 0u) << result.err;
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  EXPECT_TRUE(contains(result.err, message)) << result.err;
}

// Unless the user says how.
TEST(Program, WaitingThreadsSoonSleep) {
  const std::string show = "export OMP_DISPLAY_ENV=verbose; ";
  const auto is_set = [](const std::string& err) {  // as GCC's library shows it, or LLVM's ('1' or '1ms')
    return contains(err, "GOMP_SPINCOUNT = '20000'") || contains(err, "KMP_BLOCKTIME='1");
  };
  const ProgramResult unset = run_program("--version", show + "unset OMP_WAIT_POLICY GOMP_SPINCOUNT KMP_BLOCKTIME;");
  EXPECT_EQ(unset.code, 0);
  EXPECT_TRUE(contains(unset.out, "wavetape ")) << "the arguments must come along";
  EXPECT_TRUE(is_set(unset.err)) << unset.err;
  for (const char* own : {"export OMP_WAIT_POLICY=passive;", "export GOMP_SPINCOUNT=7; unset OMP_WAIT_POLICY;"}) {
    EXPECT_FALSE(is_set(run_program("--version", show + own).err)) << own;
  }
}

TEST(Program, VersionIsTheProjects) {
  const ProgramResult result = run_program("--version");
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out.rfind("wavetape ", 0), 0u);
  std::string version = result.out.substr(9);
  version.pop_back();
  EXPECT_TRUE(contains(read_file(kSource + "/CMakeLists.txt"), "project(wavetape VERSION " + version + " "));
}

TEST(Program, HelpComesWithEveryCommand) {
  const ProgramResult help = run_program("--help");
  EXPECT_EQ(help.code, 0);
  for (const std::string command : {"train", "eval", "score", "report", "forward", "generate", "data", "tokenize",
                                    "plan", "export", "import", "convert", "info"}) {
    EXPECT_TRUE(contains(help.out, "\n  " + command + " ")) << help.out;
  }
  for (const std::string command :
       {"train",       "eval",         "score",         "report",       "forward", "generate",
        "data babi",   "data books",   "data babilong", "tokenize",     "plan",    "export",
        "import",      "convert",      "info",          "data",         "bench",   "bench prefill",
        "bench train", "bench decode", "bench kernels", "bench speedup"}) {
    const ProgramResult result = run_program(command + " --help");
    EXPECT_EQ(result.code, 0);
    const std::size_t example = result.out.find("Example:");
    ASSERT_NE(example, std::string::npos) << result.out;
    EXPECT_TRUE(contains(result.out.substr(example), " wavetape " + command)) << result.out;
    EXPECT_EQ(result.err, "");
  }
  const std::string babi = run_program("data babi --help").out;  // CLI11 2.1 and 2.4 write a default so:
  EXPECT_TRUE(contains(babi, "=1000") || contains(babi, "[1000]")) << "defaults are shown";
}

TEST(Program, WithoutArgumentsItShowsHelpAndFails) {
  const ProgramResult result = run_program("");
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_TRUE(contains(result.err, "Usage: wavetape"));
}

TEST(Program, WrongRequestsEndWithTwo) {
  expect_failure("toknize", 2, "no command 'toknize', did you mean tokenize?");
  expect_failure("--foo", 2, "(see 'wavetape --help')");
  expect_failure("data", 2, "(see 'wavetape data --help')");
  expect_failure("data babi", 2, "--output is required (see 'wavetape data babi --help')");
  expect_failure("data babi --output x --stories 0", 2, "--stories");
  expect_failure("data babi --output x --stories ten", 2, "ten");
  for (const char* command : {"data babi --output x --seed", "eval x --seed", "train c.yaml --seeds"}) {
    expect_failure(cat(command, " -1"), 2, "Value -1 not in range ");
  }
  expect_failure("bench decode --new-tokens -1", 2, "--new-tokens: Value -1 not in range");
  for (const char* command : {"generate", "eval", "bench prefill"}) {
    expect_failure(cat(command, " x --dtype i16"), 2, "--dtype: i16 not in {");
  }
  expect_failure("eval " + kSource + "/tests/fixtures/stories260K --tokenizer " + kSource +
                     "/tests/fixtures/tokenizers/gpt2.json --length x1",
                 2, "--length: is 'x1', expected tokens");
  expect_failure("bench prefill --config c.yaml --d-mem 8", 2, "--d-mem excludes --config");
  expect_failure("data babi --output x --task qa21", 2, "task `qa21`, expected qa1 ... qa20");
  expect_failure("data babi --output x --sotries 3", 2, "--sotries, did you mean --stories? (see");
  expect_failure("train c.yaml --resme", 2, "--resme, did you mean --resume? (see 'wavetape train --help')");
  expect_failure("train c.yaml --length=4k", 2, "--length is an option of eval, data babilong");
  expect_failure("tokenize", 2, "TOKENIZER is required");
  expect_failure("tokenize x", 2, "--text");
  expect_failure("tokenize x --text a --file b", 2, "--text");
  expect_failure("info", 2, "PATH is missing");
  expect_failure("info /nonexistent", 2, "cannot open /nonexistent: No such file or directory");
  expect_failure("info /tmp", 2, "neither a run, a checkpoint nor a model folder");
  expect_failure("info " + kSource + "/.clang-format", 2, "expected .safetensors, .yaml, .json, .h5");
  expect_failure("data babilong --output x", 2, "--tokenizer is required");
  expect_failure("data books --output x --tokenizer y", 2, "--input is required");
}

TEST(Program, HomeIsExpandedInOptions) {
  const TempFolder folder;
  const ProgramResult result =
      run_program("data babi --stories 1 --output=~/s.txt", "export HOME='" + folder.path() + "'; set -o posix;");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(std::filesystem::exists(folder / "s.txt"));
}

TEST(Program, ListsTakeBlanksAndCommas) {
  const ProgramResult blanks = run_program("plan --layers 4 --segments 6 3 --schedule streaming");
  EXPECT_EQ(blanks.code, 0);
  EXPECT_EQ(run_program("plan --layers 4 --segments 6,3 --schedule streaming").out, blanks.out);
}

TEST(Program, FailuresEndWithOne) {
  const TempFolder folder;
  write_file(folder / "bad.safetensors", "12345678{}");
  expect_failure("info " + (folder / "bad.safetensors"), 1, "not a safetensors file");
  expect_failure("info " + kSource + "/CMakeLists.txt", 1, "CMakeLists.txt:1: ");
  write_file(folder / "x.json", "{}");
  expect_failure("info " + (folder / "x.json"), 1, "neither an evaluation set, a model's config.json nor a tokenizer");
  write_file(folder / "list.json", "[{\"target\": \"a\", \"input\": 3}]");
  expect_failure("info " + (folder / "list.json"), 1, "sample 0 is not");
  write_file(folder / "x.h5", "no");
  expect_failure("info " + (folder / "x.h5"), 1, "x.h5");
  expect_failure("tokenize /nonexistent --text x", 1, "/nonexistent: No such file or directory");
  expect_failure("data babi --stories 1 --output /nonexistent/x", 1, "/nonexistent/x");
  expect_failure("data babi --stories 10 --output /dev/full", 1, "No space left on device");
}

TEST(Program, OutputThatCannotBeWrittenIsAFailure) {
  const ProgramResult full = run_program("info --config-reference >/dev/full");
  EXPECT_EQ(full.code, 1);
  EXPECT_TRUE(contains(full.err, "No space left on device")) << full.err;
  EXPECT_EQ(run_program("--version >/dev/full").code, 1);
  const ProgramResult limited = run_program("data babi --stories 1000 --output " + std::string("./big.txt"),
                                            "cd \"$(dirname \"$0\")\"; ulimit -f 1;");
  EXPECT_EQ(limited.code, 1);
  EXPECT_TRUE(contains(limited.err, "File too large")) << limited.err;
}

TEST(Program, AReaderThatGoesAwayIsNoFailure) {
  // The reader is gone before the first byte comes.
  const ProgramResult result =
      run_program("info --config-reference > >(exec true); code=$?; sleep 0.1; exit $code", "sleep 0.1;");
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.err, "");
}

TEST(Program, TokenizesAndBack) {
  const std::string tokenizer = kSource + "/data/tokenizer/tokenizer.json";
  const TempFolder folder;
  const std::string text = "Mary went to the office.\n  Ünïcode \xf0\x9f\x99\x82 2026";
  write_file(folder / "text", text);
  const ProgramResult ids = run_program("tokenize " + tokenizer + " --file " + (folder / "text"));
  EXPECT_EQ(ids.code, 0) << ids.err;
  EXPECT_EQ(std::count(ids.out.begin(), ids.out.end(), '\n'), 1);
  EXPECT_EQ(ids.out.find_first_not_of("0123456789 \n"), std::string::npos);
  EXPECT_EQ(run_program("tokenize " + tokenizer + " --decode '" + ids.out + "'").out, text + "\n");
  std::string commas = ids.out;
  std::replace(commas.begin(), commas.end(), ' ', ',');
  EXPECT_EQ(run_program("tokenize " + tokenizer + " --decode '" + commas + "'").out, text + "\n");
  EXPECT_EQ(run_program("tokenize " + tokenizer + " --text ''").out, "\n");
  expect_failure("tokenize " + tokenizer + " --decode 1,x", 2, "expected token ids like 1,2,3, got '1,x'");
  expect_failure("tokenize " + tokenizer + " --decode 99999999999", 2, "expected token ids");
  EXPECT_EQ(run_program("tokenize " + tokenizer + " --decode 2000000").out, "\n") << "an id without a token is no text";
}

TEST(Program, WritesStories) {
  const TempFolder folder;
  const auto write = [&](const std::string& name, int seed) {
    const ProgramResult result =
        run_program(cat("data babi --task qa1 --stories 20 --seed ", seed, " --output ", folder / name));
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_TRUE(contains(result.out, "20 stories, ")) << result.out;
    const ProgramResult info = run_program("info " + (folder / name));
    EXPECT_TRUE(contains(info.out, ": 20 stories, ")) << info.out << info.err;
    return read_file(folder / name);
  };
  const std::string first = write("a.txt", 1);
  EXPECT_EQ(first.rfind("1 ", 0), 0u);
  EXPECT_EQ(write("b.txt", 1), first);
  EXPECT_NE(write("c.txt", 2), first);
}

TEST(Program, TokenisesBooksAndMakesEvaluationSets) {
  const TempFolder folder;
  const std::string tokenizer = kSource + "/data/tokenizer/tokenizer.json";
  std::filesystem::create_directory(folder / "novels");
  std::string book;
  for (int i = 0; i < 400; ++i) {
    book += cat("The traveller counted ", i, " steps between the river and the old mill, and then he slept. ");
  }
  write_file(folder / "novels/walk.txt", book);
  const std::string books = folder / "books.h5";
  const ProgramResult made =
      run_program("data books --input " + (folder / "novels") + " --tokenizer " + tokenizer + " --output " + books);
  EXPECT_EQ(made.code, 0) << made.err;
  EXPECT_TRUE(contains(made.out, "1 books, 400 sentences, ")) << made.out;
  EXPECT_EQ(made.err, "") << "no progress bar in a pipe";
  EXPECT_TRUE(contains(run_program("info " + books).out, "1 books, 400 sentences, "));

  const std::string set = "data babilong --task qa1 --length 1k --samples 7 --tokenizer " + tokenizer + " --output ";
  for (const std::string name : {"a.json", "a.h5"}) {
    const ProgramResult result = run_program(set + (folder / name) + " --books " + books);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_TRUE(contains(result.out, "7 samples of qa1 at 1k tokens")) << result.out;
    const ProgramResult info = run_program("info " + (folder / name));
    EXPECT_TRUE(contains(info.out, "evaluation set") && contains(info.out, "7 samples")) << info.out << info.err;
    EXPECT_TRUE(contains(info.out, "answers: ")) << info.out;
  }
  EXPECT_TRUE(contains(read_file(folder / "a.json"), "\"target\""));
  EXPECT_EQ(run_program(set + (folder / "b.json") + " --length 0k").code, 2) << "given twice";
  expect_failure(set + (folder / "b.json"), 2, "no books for the background");
  expect_failure("data books --input " + (folder / "none") + " --tokenizer " + tokenizer + " --output " + books, 1,
                 "none");
}

TEST(Program, InfoOnFilesAndFolders) {
  const ProgramResult tensors = run_program("info " + kSource + "/tests/fixtures/armt_llama_tiny.safetensors");
  EXPECT_EQ(tensors.code, 0);
  EXPECT_TRUE(contains(tensors.out, "244 tensors (235 F32, 6 I64, 3 U8)")) << tensors.out.substr(0, 200);
  EXPECT_TRUE(contains(tensors.out, "len80.logits"));
  const ProgramResult model = run_program("info " + kSource + "/tests/fixtures/stories260K");
  EXPECT_TRUE(contains(model.out, "llama: 5 layers, width 64, 8 heads (4 key/value) of 8")) << model.out;
  EXPECT_TRUE(contains(model.out, "model.norm.weight"));
  EXPECT_TRUE(contains(model.out, "model.layers.{l}.mlp.up_proj.weight")) << model.out;
  EXPECT_TRUE(contains(model.out, "[172,64] × 5\n")) << model.out;
  const ProgramResult each = run_program("info --tensors " + kSource + "/tests/fixtures/stories260K");
  EXPECT_TRUE(contains(each.out, "model.layers.4.mlp.up_proj.weight")) << each.out;
  EXPECT_FALSE(contains(each.out, "{l}") || contains(each.out, "×")) << each.out;
  const ProgramResult config = run_program("info " + kSource + "/configs/babilong_qa1_tiny.yaml");
  EXPECT_TRUE(contains(config.out, "memory: segments of ")) << config.out;
  EXPECT_TRUE(
      contains(run_program("info " + kSource + "/data/tokenizer/tokenizer.json").out, ": a tokenizer, vocabulary "));
  EXPECT_TRUE(
      contains(run_program("info " + kSource + "/tests/fixtures/stories260K/config.json").out, "llama: 5 layers"));
  const ProgramResult reference = run_program("info --config-reference");
  EXPECT_EQ(reference.out, config_reference());
}

TEST(Program, InfoOnARunAndItsCheckpoints) {
  const TempFolder folder;
  const std::string run = folder / "run";
  CheckpointStore store(run, StoreMode::kWrite);
  for (const std::int64_t step : {10, 20}) {
    store.save(step, {{"w", Tensor::from<float>({2}, {1, 2})}}, {}, "{\"stage\": 1}");
  }
  store.mark_best(10);
  write_file(run + "/config.yaml", config_yaml(load_config(kSource + "/configs/babilong_qa1_tiny.yaml")));
  write_file(run + "/metrics.jsonl", "{\"step\": 19}\n{\"step\": 20}\n{\"st");
  const ProgramResult result = run_program("info " + run);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(contains(result.out, "step 10 (best): whole")) << result.out;
  EXPECT_TRUE(contains(result.out, "step 20: whole")) << result.out;
  EXPECT_TRUE(contains(result.out, "last metrics: {\"step\": 20}\n")) << result.out;

  const ProgramResult one = run_program("info " + store.folder_of(20));
  EXPECT_TRUE(contains(one.out, "checkpoint of step 20, whole")) << one.out << one.err;
  EXPECT_TRUE(contains(one.out, "state: {\"stage\": 1}")) << one.out;
  std::filesystem::resize_file(store.folder_of(20) + "/weights.safetensors", 5);
  EXPECT_TRUE(contains(run_program("info " + run).out, "step 20: DAMAGED: ")) << result.out;
  expect_failure("info " + store.folder_of(20), 1, "weights.safetensors: has 5 bytes");
}

}  // namespace
}  // namespace wt
