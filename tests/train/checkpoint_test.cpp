#include "train/run/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <thread>

#include "core/files.h"
#include "core/random.h"
#include "tests/support/expect_error.h"
#include "tests/support/file_limit.h"
#include "tests/support/temp_folder.h"
#include "train/run/crc32c.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

NamedTensors tensors(std::int64_t step, std::int64_t count = 1000) {
  std::vector<float> values(static_cast<std::size_t>(count));
  RandomStream stream(static_cast<std::uint64_t>(step), random_stream(RandomPurpose::kTest, 1));
  for (float& value : values) value = static_cast<float>(stream.normal());
  return {{"w", Tensor::from<float>({count}, values)}};
}

bool equal(const Tensor& a, const Tensor& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

class CheckpointTest : public testing::Test {
 protected:
  CheckpointStore store() { return {folder_.path(), StoreMode::kWrite}; }
  void save(CheckpointStore& to, std::int64_t step) {
    to.save(step, tensors(step), tensors(-step), cat("{\"step\":", step, "}"));
  }
  std::string checkpoint(std::int64_t step) { return store().folder_of(step); }
  CheckpointStore::Report report() {
    return [this](const std::string& line) { reports_.push_back(line); };
  }
  // The names in the checkpoints folder.
  std::vector<std::string> entries() {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(folder_ / "checkpoints")) out.push_back(entry.path().filename());
    std::sort(out.begin(), out.end());
    return out;
  }

  TempFolder folder_;
  std::vector<std::string> reports_;
};

TEST(Crc32c, KnownAnswers) {
  // RFC 3720, B.4.
  EXPECT_EQ(crc32c(std::string(32, '\0').data(), 32), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xff').data(), 32), 0x62A8AB43u);
  EXPECT_EQ(crc32c("123456789", 9), 0xE3069283u);
  EXPECT_EQ(crc32c("", 0), 0u);
  const std::string text = "a longer text that is cut at every place";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(crc32c(text.data() + cut, text.size() - cut, crc32c(text.data(), cut)), crc32c(text.data(), text.size()));
  }
}

TEST_F(CheckpointTest, WhatIsSavedComesBackBitEqual) {
  CheckpointStore s = store();
  EXPECT_FALSE(s.load_newest(report()).has_value());
  EXPECT_FALSE(s.load_best(report()).has_value());
  save(s, 7);
  save(s, 12345);
  const auto newest = s.load_newest(report());
  ASSERT_TRUE(newest.has_value());
  EXPECT_EQ(newest->step, 12345);
  EXPECT_EQ(newest->state_json, "{\"step\":12345}");
  EXPECT_TRUE(equal(newest->weights.tensor("w"), tensors(12345)[0].second));
  EXPECT_TRUE(equal(newest->optimizer.tensor("w"), tensors(-12345)[0].second));
  EXPECT_EQ(newest->folder, folder_ / "checkpoints/step_00012345");
  EXPECT_TRUE(equal(s.load(7).weights.tensor("w"), tensors(7)[0].second));
  EXPECT_EQ(s.steps(), (std::vector<std::int64_t>{7, 12345}));
  EXPECT_TRUE(reports_.empty());
  EXPECT_ERROR(s.load(8), Error, "no checkpoint of step 8 in ");
  EXPECT_ERROR(s.save(-1, {}, {}, ""), Error, "checkpoint of step -1");
}

TEST_F(CheckpointTest, TheSameStepIsReplaced) {
  CheckpointStore s = store();
  save(s, 5);
  s.save(5, tensors(99), {}, "new");
  EXPECT_EQ(s.load(5).state_json, "new");
  EXPECT_TRUE(equal(s.load(5).weights.tensor("w"), tensors(99)[0].second));
  EXPECT_EQ(entries(), std::vector<std::string>{"step_00000005"});
}

TEST_F(CheckpointTest, KeepsTheNewestAndTheBest) {
  CheckpointStore s = store();
  EXPECT_ERROR(s.mark_best(3), Error, "no checkpoint of step 3");
  for (const std::int64_t step : {10, 20, 30, 40, 50}) save(s, step);
  s.mark_best(20);
  s.keep_newest(2);
  EXPECT_EQ(s.steps(), (std::vector<std::int64_t>{20, 40, 50}));
  EXPECT_EQ(s.best_step(), 20);
  EXPECT_EQ(s.load_best(report())->step, 20);
  s.mark_best(50);
  s.keep_newest(0);  // never fewer than one
  EXPECT_EQ(s.steps(), std::vector<std::int64_t>{50});
  EXPECT_EQ(entries(), (std::vector<std::string>{"best", "step_00000050"}));
}

TEST_F(CheckpointTest, ADamagedNewestOneIsReportedAndTheOneBeforeUsed) {
  CheckpointStore s = store();
  save(s, 1);
  save(s, 2);
  const auto damage_and_load = [&](const std::string& file, const std::function<void(const std::string&)>& damage,
                                   const std::string& message) {
    SCOPED_TRACE(file + " " + message);
    save(s, 2);
    reports_.clear();
    damage(checkpoint(2) + "/" + file);
    EXPECT_EQ(s.load_newest(report())->step, 1);
    ASSERT_EQ(reports_.size(), 1u);
    EXPECT_NE(reports_[0].find(message), std::string::npos) << reports_[0];
    EXPECT_NE(reports_[0].find("step_00000002"), std::string::npos) << reports_[0];
    EXPECT_EQ(reports_[0].find('\n'), std::string::npos);
  };
  const auto flip = [](const std::string& path) {
    std::string bytes = read_file(path);
    bytes[bytes.size() - 3] = static_cast<char>(bytes[bytes.size() - 3] ^ 1);
    write_file(path, bytes);
  };
  const auto shorten = [](const std::string& path) { fs::resize_file(path, fs::file_size(path) - 2); };
  const auto drop = [](const std::string& path) { fs::remove(path); };
  for (const char* file : {"weights.safetensors", "optimizer.safetensors", "state.json"}) {
    damage_and_load(file, flip, cat(file, ": its checksum does not match"));
    damage_and_load(file, shorten, cat(file, ": has "));
    damage_and_load(file, drop, cat(file, ": No such file"));
  }
  damage_and_load("manifest.json", shorten, "manifest.json: not valid JSON");
  damage_and_load("manifest.json", drop, "manifest.json: No such file");
  damage_and_load(
      "manifest.json", [](const std::string& path) { write_file(path, "{\"version\":2}"); }, "version is 2");
  damage_and_load(
      "manifest.json", [](const std::string& path) { write_file(path, "[]"); }, "manifest.json: is damaged");
  damage_and_load(
      "manifest.json", [&](const std::string& path) { write_file(path, read_file(checkpoint(1) + "/manifest.json")); },
      "is of step 1");
}

TEST_F(CheckpointTest, ADamagedBestOneFallsBackToTheNewest) {
  CheckpointStore s = store();
  save(s, 1);
  save(s, 2);
  s.mark_best(1);
  fs::remove(checkpoint(1) + "/state.json");
  EXPECT_EQ(s.load_best(report())->step, 2);
  ASSERT_EQ(reports_.size(), 1u);
  write_file(s.folder() + "/best", "nonsense");
  EXPECT_FALSE(s.best_step().has_value());
  fs::remove(checkpoint(2) + "/state.json");
  reports_.clear();
  EXPECT_ERROR(s.load_newest(report()), Error, "none of the 2 checkpoints in ");
  EXPECT_ERROR(s.load_best(report()), Error, "is whole; the newest: cannot open ");
  EXPECT_TRUE(reports_.empty()) << "the error says it all in one line";
  fs::remove_all(checkpoint(1));
  EXPECT_ERROR(s.load_best(report()), Error, "the only checkpoint is damaged: cannot open ");
}

TEST_F(CheckpointTest, AFullDiskLeavesEarlierCheckpoints) {
  CheckpointStore s = store();
  save(s, 1);
  {
    const FileSizeLimit limit(16 << 10);
    EXPECT_ERROR(s.save(2, tensors(2, 100'000), {}, ""), Error, "weights.safetensors: File too large");
  }
  EXPECT_EQ(entries(), std::vector<std::string>{"step_00000001"});
  EXPECT_EQ(s.load_newest(report())->step, 1);
  EXPECT_TRUE(reports_.empty());
}

TEST_F(CheckpointTest, LeftoversGoWhenOpenedForWritingOnly) {
  CheckpointStore s = store();
  save(s, 1);
  fs::create_directory(folder_ / "checkpoints/.tmp_step_00000002");
  write_file(folder_ / "checkpoints/.tmp_step_00000002/weights.safetensors", "half");
  write_file(folder_ / "checkpoints/.best.123.tmp", "step");
  write_file(folder_ / "checkpoints/notes.txt", "mine");
  const CheckpointStore reader(folder_.path(), StoreMode::kRead);
  EXPECT_EQ(entries().size(), 4u);
  EXPECT_EQ(reader.steps(), std::vector<std::int64_t>{1});
  store();
  EXPECT_EQ(entries(), (std::vector<std::string>{"notes.txt", "step_00000001"}));
}

TEST_F(CheckpointTest, AFolderThatCannotBeMadeIsNamed) {
  write_file(folder_ / "file", "x");
  EXPECT_ERROR(CheckpointStore(folder_ / "file", StoreMode::kWrite), Error, "cannot make folder ");
  EXPECT_TRUE(CheckpointStore(folder_ / "none", StoreMode::kRead).steps().empty());
}

// A child saves without end, marking every third checkpoint best and keeping two; it is killed at a random moment.
TEST_F(CheckpointTest, AKillAtAnyMomentLeavesAWholeCheckpoint) {
  RandomStream moments(11, random_stream(RandomPurpose::kTest, 0));
  CheckpointStore first = store();
  save(first, 1);
  std::int64_t newest = 1;
  for (int round = 0; round < 20; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      CheckpointStore s = store();
      for (std::int64_t step = newest + 1;; ++step) {
        save(s, step);
        if (step % 3 == 0) s.mark_best(step);
        s.keep_newest(2);
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds(1000 + moments.below(60'000)));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));

    const CheckpointStore reader(folder_.path(), StoreMode::kRead);
    const auto found = reader.load_newest(report());
    ASSERT_TRUE(found.has_value());
    EXPECT_TRUE(reports_.empty()) << reports_[0];
    EXPECT_GE(found->step, newest);
    newest = found->step;
    EXPECT_TRUE(equal(found->weights.tensor("w"), tensors(newest)[0].second));
    EXPECT_EQ(found->state_json, cat("{\"step\":", newest, "}"));
    for (const std::int64_t step : reader.steps()) EXPECT_NO_THROW(reader.load(step)) << step;
    if (const auto best = reader.best_step()) {
      EXPECT_NO_THROW(reader.load(*best));
    }
    store();
    for (const std::string& name : entries()) EXPECT_NE(name[0], '.') << name;
  }
  EXPECT_GT(newest, 3);  // the children did save
}

}  // namespace
}  // namespace wt
