// Every file of configs/ is what a user finds in it: a run that starts, with the files that it asks for.
#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "core/files.h"
#include "tests/support/run_program.h"
#include "tests/support/temp_folder.h"
#include "train/config.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

const std::string kSource = WAVETAPE_SOURCE_DIR;

std::vector<std::string> config_files() {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(kSource + "/configs")) out.push_back(entry.path().string());
  return out;
}

// A folder of books, and a small model with a tokenizer in place of the pretrained one.
class Configs : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string text;
    for (int i = 0; i < 6000; ++i) text += cat("In the year ", i, " the river rose and the old mill stood still. ");
    fs::create_directory(folder_ / "books");
    write_file(folder_ / "books/river.txt", text);
    fs::create_directory(folder_ / "model");
    for (const char* name : {"config.json", "model.safetensors"}) {
      fs::copy(kSource + "/tests/fixtures/stories260K/" + name, folder_ / "model");
    }
    fs::copy(kSource + "/tests/fixtures/tokenizers/gpt2.json", folder_ / "model/tokenizer.json");
  }
  // From a folder that is not the repository's, so that nothing but what is named is found.
  ProgramResult dry_run(const std::string& file, const std::string& overrides) const {
    return run_program(cat("train '", file, "' --dry-run run.device=cpu ", overrides),
                       cat("cd '", folder_.path(), "';"));
  }

  TempFolder folder_;
};

TEST_F(Configs, EveryOneStartsWithTheFilesItAsksFor) {
  const std::vector<std::string> files = config_files();
  ASSERT_GE(files.size(), 7u);
  for (const std::string& file : files) {
    const Config config = load_config(file);
    EXPECT_FALSE(config.eval.lengths.empty()) << file;
    std::string overrides;
    if (!config.model_from.empty()) overrides += " model.from=model";
    if (!config.data.is_retrieval()) {
      overrides +=
          cat(" data.books=books data.tokenizer=", config.model_from.empty() ? kSource + "/data/tokenizer" : "model");
    }
    if (config.run.dtype == DType::kBF16) {
      const ProgramResult refused = dry_run(file, overrides);
      EXPECT_EQ(refused.code, 2) << file;
      EXPECT_NE(refused.err.find("(run.dtype=f32)"), std::string::npos) << refused.err;
      overrides += " run.dtype=f32";
    }
    // A machine without a GPU may have less memory than one sample of a million tokens needs.
    for (std::size_t i = 0; i < config.train.stages.size(); ++i) {
      overrides += cat(" train.stages.", i, ".batch_size=1");
    }
    const ProgramResult result = dry_run(file, overrides);
    EXPECT_EQ(result.code, 0) << file << overrides << "\n" << result.err;
    EXPECT_NE(result.out.find("Waves of the last stage"), std::string::npos) << file;
  }
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
}

TEST_F(Configs, FilesThatAreNotThereAreSaidWithWhatToGive) {
  for (const std::string& file : config_files()) {
    const Config config = load_config(file);
    if (config.data.is_retrieval() || !config.model_from.empty()) continue;
    const ProgramResult result = dry_run(file, cat("data.tokenizer=", kSource, "/data/tokenizer"));
    EXPECT_EQ(result.code, 2) << file;
    EXPECT_NE(
        result.err.find("data.books: is 'runs/data/books.h5', and there is no such file or folder; data.books=DIR "
                        "names a folder of .txt"),
        std::string::npos)
        << result.err;
  }
}

TEST_F(Configs, DataThatDoNotFitAreSaidAtTheirKeys) {
  const std::string tiny = kSource + "/configs/babilong_qa1_tiny.yaml";
  const auto says = [&](const std::string& overrides) { return dry_run(tiny, "data.books=books " + overrides).err; };
  EXPECT_NE(says("data.tokenizer=none").find("data.tokenizer: is 'none', and there is no such file or folder"),
            std::string::npos);
  const std::string tokenizer = cat("data.tokenizer=", kSource, "/data/tokenizer ");
  EXPECT_NE(says(tokenizer + "data.babi=books").find("data.babi: books: no file qa1_*_train.txt for task qa1"),
            std::string::npos);
  EXPECT_NE(
      says(tokenizer + "data.task=qa2").find("ask_everyone: is true, but such questions have known answers in qa1"),
      std::string::npos);
}

// Tokenizers of other kinds, and folders of text as a user has them.
TEST_F(Configs, TheTinyOneTakesAnyTokenizerAndFoldersOfText) {
  const std::string tiny = kSource + "/configs/babilong_qa1_tiny.yaml";
  fs::create_directory(folder_ / "babi");
  ASSERT_EQ(
      run_program(cat("data babi --stories 50 --output ", folder_ / "babi/qa1_single-supporting-fact_train.txt")).code,
      0);
  ASSERT_EQ(run_program(
                cat("data babi --stories 20 --seed 2 --output ", folder_ / "babi/qa1_single-supporting-fact_test.txt"))
                .code,
            0);
  for (const std::string tokenizer :
       {"/data/tokenizer/tokenizer.json", "/tests/fixtures/gpt2", "/tests/fixtures/tokenizers/llama2.json",
        "/tests/fixtures/tokenizers/llama3.json"}) {
    const ProgramResult result =
        dry_run(tiny, cat("data.babi=babi data.books=books data.tokenizer='", kSource, tokenizer, "'"));
    EXPECT_EQ(result.code, 0) << tokenizer << "\n" << result.err;
  }
}

}  // namespace
}  // namespace wt
