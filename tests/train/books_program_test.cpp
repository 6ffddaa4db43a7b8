// Commands that read books: what they keep, and what Ctrl-C leaves.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/run_program.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

const std::string kTokenizer = WAVETAPE_SOURCE_DIR "/data/tokenizer/tokenizer.json";

std::string prose(std::size_t bytes) {
  std::string text;
  for (int i = 0; text.size() < bytes; ++i) {
    text += cat("The traveller counted ", i, " steps between the river and the old mill, and then he slept.\n");
    if (i % 7 == 0) text += "\n";
  }
  return text;
}

std::size_t num_files(const std::string& folder) {
  return static_cast<std::size_t>(std::distance(fs::recursive_directory_iterator(folder), {}));
}

TEST(BooksProgram, CtrlCLeavesNoFile) {
  const TempFolder folder;
  fs::create_directory(folder / "out");
  fs::create_directory(folder / "cache");
  write_file(folder / "long.txt", prose(40000000));
  write_file(folder / "short.txt", prose(100000));
  write_file(
      folder / "t.yaml",
      cat("run: {dir: ", folder / "run", ", device: cpu, threads: 1}\n",
          "model: {hidden_size: 32, intermediate_size: 64, num_layers: 1, num_heads: 4, armt: {segment_size: 32, "
          "num_mem_tokens: 2, d_mem: 8}}\n",
          "data: {task: qa1, babi: simulate, books: ", folder / "long.txt", ", tokenizer: ", kTokenizer, "}\n",
          "train: {stages: [{segments: 2, steps: 2}]}\n"));
  const std::string cache = cat("WAVETAPE_CACHE='", folder / "cache", "' ");
  for (const char* signal : {"INT", "TERM"}) {
    const std::string interrupted = cat(cache, "timeout --foreground --preserve-status -s ", signal, " 0.7");
    const int code = std::string(signal) == "INT" ? 130 : 143;
    ProgramResult result = run_program(cat("data books --input ", folder / "long.txt", " --tokenizer ", kTokenizer,
                                           " --output ", folder / "out/books.h5"),
                                       interrupted);
    EXPECT_EQ(result.code, code) << result.err;
    result = run_program(cat("data babilong --samples 1000000 --books ", folder / "long.txt", " --tokenizer ",
                             kTokenizer, " --output ", folder / "out/set.json"),
                         interrupted);
    EXPECT_EQ(result.code, code) << result.err;
    result = run_program(cat("train ", folder / "t.yaml"), interrupted);
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_EQ(num_files(folder / "cache"), 0u);  // no tokens, no lock
    result = run_program(cat("data babilong --samples 1000000 --books ", folder / "short.txt", " --tokenizer ",
                             kTokenizer, " --output ", folder / "out/set.json"),
                         interrupted);
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_EQ(num_files(folder / "out"), 0u);
    fs::remove_all(folder / "cache");
    fs::create_directory(folder / "cache");
  }
}

TEST(BooksProgram, TokensAreKeptForTheNextStart) {
  const TempFolder folder;
  write_file(folder / "book.txt", prose(200000));
  const std::string cache = cat("WAVETAPE_CACHE='", folder / "cache", "'");
  const std::string set = cat("data babilong --samples 3 --length 2k --books ", folder / "book.txt", " --tokenizer ",
                              kTokenizer, " --output ");
  EXPECT_EQ(run_program(set + (folder / "a.json"), cache).code, 0);
  fs::path kept;
  for (const auto& entry : fs::directory_iterator(folder / "cache")) {
    if (entry.path().extension() == ".tokens") kept = entry.path();
  }
  const auto made = fs::last_write_time(kept);
  EXPECT_EQ(run_program(set + (folder / "b.json"), cache).code, 0);
  EXPECT_EQ(fs::last_write_time(kept), made);
  EXPECT_EQ(read_file(folder / "a.json"), read_file(folder / "b.json"));
  write_file(kept.string(), read_file(kept.string()).substr(1000));
  const ProgramResult mended = run_program(set + (folder / "c.json"), cache);
  EXPECT_EQ(mended.code, 0) << mended.err;
  EXPECT_NE(mended.err.find(kept.string()), std::string::npos) << mended.err;
  EXPECT_EQ(read_file(folder / "a.json"), read_file(folder / "c.json"));
}

}  // namespace
}  // namespace wt
