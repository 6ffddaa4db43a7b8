#include "train/metrics.h"

#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "core/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/file_limit.h"
#include "tests/support/temp_folder.h"
#include "train/progress.h"
#include "train/units.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

TEST(Units, ReadWell) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1024), "1.0 KiB");
  EXPECT_EQ(human_bytes(512ull << 20), "512 MiB");
  EXPECT_EQ(human_bytes((1ull << 30) * 3 / 2), "1.5 GiB");
  EXPECT_EQ(human_bytes((1ull << 30) - 1), "1.0 GiB");
  EXPECT_EQ(human_bytes(1ull << 60), "1048576 TiB");
  EXPECT_EQ(human_count(0), "0");
  EXPECT_EQ(human_count(980), "980");
  EXPECT_EQ(human_count(12345), "12.3k");
  EXPECT_EQ(human_count(999.6), "1.00k");
  EXPECT_EQ(human_count(999'600), "1.00M");
  EXPECT_EQ(human_count(1.2e8), "120M");
  EXPECT_EQ(human_count(NAN), "?");
  EXPECT_EQ(human_duration(0), "0:00");
  EXPECT_EQ(human_duration(59.6), "1:00");
  EXPECT_EQ(human_duration(754), "12:34");
  EXPECT_EQ(human_duration(3723), "1:02:03");
  EXPECT_EQ(human_duration(-1), "?");
  EXPECT_EQ(human_duration(INFINITY), "?");
}

TEST(StepLine, SaysEverything) {
  StepStats stats{.step = 120,
                  .total_steps = 3000,
                  .stage = 2,
                  .num_stages = 4,
                  .loss = 1.2341,
                  .grad_norm = 0.98,
                  .lr = 1e-3,
                  .tokens_per_second = 12300,
                  .memory_bytes = 512ull << 20,
                  .mfu = 0.41,
                  .min_denominator = 0.02,
                  .skipped = 0};
  EXPECT_EQ(stats.str(),
            "step 120/3000 stage 2/4 loss 1.234 grad 0.98 lr 1.0e-3 12.3k tok/s mem 512 MiB mfu 41 % min_den 0.02 "
            "skipped 0");
  // What is not a number is said; what is not there is not.
  stats.min_denominator = std::nan("");
  EXPECT_NE(stats.str().find(" min_den nan "), std::string::npos) << stats.str();
  EXPECT_TRUE(nlohmann::json::parse(stats.record().json()).at("min_denominator").is_null());
  stats.mfu = stats.min_denominator = -1;
  stats.loss = NAN;
  stats.lr = 2.5e-11;
  stats.skipped = 3;
  EXPECT_EQ(stats.str(), "step 120/3000 stage 2/4 loss nan grad 0.98 lr 2.5e-11 12.3k tok/s mem 512 MiB skipped 3");
  const auto json = nlohmann::json::parse(stats.record().json());
  EXPECT_EQ(json["step"], 120);
  EXPECT_TRUE(json["loss"].is_null());
  EXPECT_EQ(json["lr"], 2.5e-11);
  EXPECT_EQ(json["skipped"], 3);
  EXPECT_FALSE(json.contains("mfu"));
}

TEST(MetricRecord, IsJsonInTheOrderOfTheCalls) {
  MetricRecord record;
  record.add("step", 3).add("loss", 0.1).add("ok", true).add("text", "a \"b\"\n\xff").add("inf", INFINITY);
  EXPECT_EQ(record.json(),
            "{\"step\": 3, \"loss\": 0.1, \"ok\": true, \"text\": \"a \\\"b\\\"\\n\xEF\xBF\xBD\", \"inf\": null}");
  EXPECT_TRUE(nlohmann::json::accept(record.json()));
  EXPECT_EQ(MetricRecord().json(), "{}");
}

TEST(RunFolder, IsMadeOnceAndResumed) {
  const TempFolder folder;
  const std::string path = folder / "runs/x";
  EXPECT_FALSE(is_run_folder(path));
  EXPECT_ERROR(RunFolder::resume(path), Error, "holds no run to resume");
  {
    const RunFolder run = RunFolder::create(path);
    EXPECT_EQ(run.metrics_path(), path + "/metrics.jsonl");
    EXPECT_EQ(run.log_path(), path + "/log.txt");
    EXPECT_ERROR(RunFolder::create(path), Error, "another process is using this run folder");
    write_file(run.config_path(), "run: {}\n");
    EXPECT_TRUE(is_run_folder(path));
    EXPECT_ERROR(RunFolder::resume(path), Error, "another process is using this run folder");
  }
  EXPECT_ERROR(RunFolder::create(path), Error, "holds a run already; go on with --resume, or choose another run.dir");
  EXPECT_EQ(RunFolder::resume(path).path(), path);
  RunFolder first = RunFolder::resume(path);
  const RunFolder moved = std::move(first);
  EXPECT_ERROR(RunFolder::resume(path), Error, "another process");
  write_file(folder / "file", "x");
  EXPECT_ERROR(RunFolder::create(folder / "file"), Error, "cannot make folder ");
  EXPECT_ERROR(RunFolder::create("/proc/none/x"), Error, "cannot make folder ");
}

TEST(Metrics, LinesAreAppended) {
  const TempFolder folder;
  for (int i = 0; i < 2; ++i) {
    LineFile file(folder / "m");
    file.line("one");
    file.sync();
  }
  EXPECT_EQ(read_file(folder / "m"), "one\none\n");
  {
    LineFile file(folder / "m");
    const FileSizeLimit limit(4);
    EXPECT_ERROR(file.line("two"), Error, "m: File too large");
  }
  EXPECT_ERROR(LineFile(folder / "none/m"), Error, "none/m: No such file or directory");
  LineFile full("/dev/full");
  EXPECT_ERROR(full.line("x"), Error, "cannot write /dev/full: No space left on device");
}

TEST(Metrics, AResumedRunForgetsWhatCameAfter) {
  const TempFolder folder;
  const std::string path = folder / "metrics.jsonl";
  truncate_metrics(path, 5);
  EXPECT_FALSE(fs::exists(path));
  const std::string kept = "{\"event\": \"start\"}\n{\"step\": 1}\n{\"step\": 2}\n";
  const auto after = [&](const std::string& text, std::int64_t step) {
    write_file(path, text);
    truncate_metrics(path, step);
    return read_file(path);
  };
  EXPECT_EQ(after(kept, 2), kept);
  EXPECT_EQ(after(kept + "{\"step\": 3}\n{\"step\": 4}\n", 2), kept);
  EXPECT_EQ(after(kept + "{\"step\": 2, \"val", 2), kept);
  EXPECT_EQ(after(kept + "{\"step\": 2}", 2), kept);
  EXPECT_EQ(after(kept + "{\"step\": 2, \n{\"step\": 2}\n", 2), kept);
  EXPECT_EQ(after(kept + "{\"step\": 3}\n", 0), "{\"event\": \"start\"}\n");
  EXPECT_EQ(after("", 3), "");
  EXPECT_EQ(after("garbage\n", 3), "");
}

// A terminal of a given width, and what was written to it.
class Terminal {
 public:
  explicit Terminal(unsigned short columns) {
    const winsize size{24, columns, 0, 0};
    int slave = -1;
    const int made = ::openpty(&master_, &slave, nullptr, nullptr, &size);
    WT_CHECK(made == 0, "no pseudo terminal: ", std::strerror(errno), " (is /dev/pts mounted?)");
    out_ = ::fdopen(slave, "w");
  }
  ~Terminal() {
    if (out_ != nullptr) std::fclose(out_);
    ::close(master_);
  }
  std::FILE* out() { return out_; }
  std::string text() {
    std::fclose(out_);
    out_ = nullptr;
    std::string all;
    char buffer[4096];
    ssize_t count = 0;
    while ((count = ::read(master_, buffer, sizeof buffer)) > 0) all.append(buffer, static_cast<std::size_t>(count));
    return all;
  }

 private:
  int master_ = -1;
  std::FILE* out_ = nullptr;
};

// TERM for the length of a scope.
class TermVariable {
 public:
  explicit TermVariable(const char* value) {
    if (const char* before = std::getenv("TERM")) before_ = before;
    set(value);
  }
  ~TermVariable() { set(before_ ? before_->c_str() : nullptr); }
  TermVariable(const TermVariable&) = delete;
  TermVariable& operator=(const TermVariable&) = delete;

 private:
  static void set(const char* value) {
    if (value == nullptr) {
      ::unsetenv("TERM");
    } else {
      ::setenv("TERM", value, 1);
    }
  }
  std::optional<std::string> before_;
};

TEST(Progress, DrawsABarOnATerminal) {
  const TermVariable term("xterm");
  Terminal terminal(100);
  {
    Progress progress(terminal.out(), "train", 3000);
    EXPECT_TRUE(progress.is_terminal());
    progress.count_from(1000, 3000);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    progress.update(1500, "loss 0.53");
    progress.line("a line");
    progress.update(1501, "too soon to draw");
    progress.update(3000, "done");
  }
  const std::string text = terminal.text();
  EXPECT_NE(text.find("\r\x1b[Ktrain [===============>"), std::string::npos) << text;
  EXPECT_NE(text.find(" 50 % 1500/3000 "), std::string::npos) << text;
  EXPECT_NE(text.find(" left loss 0.53"), std::string::npos) << text;
  EXPECT_NE(text.find("\r\x1b[Ka line\r\n\r\x1b[Ktrain ["), std::string::npos) << text;
  EXPECT_EQ(text.find("too soon"), std::string::npos) << text;
  EXPECT_NE(text.find("100 % 3000/3000"), std::string::npos) << text;
  EXPECT_EQ(text.substr(text.size() - 2), "\r\n");
}

TEST(Progress, TimeLeftIsAtMostWhereLessMayDo) {
  const TermVariable term("xterm");
  Terminal terminal(100);
  Progress progress(terminal.out(), "train", 100);
  progress.count_from(0, 80, true);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  progress.update(40);
  EXPECT_NE(progress.bar(100).find(" 50 % 40/80 "), std::string::npos) << progress.bar(100);
  EXPECT_NE(progress.bar(100).find(" at most 0:0"), std::string::npos) << progress.bar(100);
}

TEST(Progress, ABarThatDoesNotStayLeavesItsLineEmpty) {
  const TermVariable term("xterm");
  Terminal terminal(100);
  { Progress(terminal.out(), "validate", 10, false).update(5); }
  const std::string text = terminal.text();
  EXPECT_NE(text.find("validate ["), std::string::npos) << text;
  EXPECT_EQ(text.substr(text.size() - 4), "\r\x1b[K");
}

TEST(Progress, SkippedStepsAreNotItsSpeed) {
  const TempFolder folder;
  std::FILE* out = std::fopen((folder / "out").c_str(), "w");
  Progress progress(out, "train", 1'000'000);
  progress.count_from(900'000, 1'000'000);
  EXPECT_EQ(progress.bar(200).find("left"), std::string::npos) << "nothing has been timed yet";
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  progress.update(900'001);
  const std::string bar = progress.bar(200);
  std::fclose(out);
  // One step in 20 ms: at most 50 a second, and the other 99,999 take half an hour at least.
  const std::size_t rate = bar.find("/1000000 ");
  ASSERT_NE(rate, std::string::npos) << bar;
  EXPECT_LE(std::stod(bar.substr(rate + 9)), 50.0) << bar;
  EXPECT_NE(bar.find(" 900001/"), std::string::npos) << bar;
}

TEST(Progress, NeverWrapsOnANarrowTerminal) {
  Terminal terminal(30);
  Progress progress(terminal.out(), "train", 100);
  progress.update(50, "a long note that does not fit at all");
  for (const int width : {1, 2, 5, 10, 20, 30, 45, 60, 200}) {
    EXPECT_LT(progress.bar(width).size(), static_cast<std::size_t>(width)) << width;
  }
  EXPECT_EQ(progress.bar(10), "train  50");
  // A file's name may hold anything: columns are counted, characters not cut, and line breaks not drawn.
  const Progress named(terminal.out(), "読む本\n.txt", 100);
  EXPECT_EQ(named.bar(7), "読む本");
  EXPECT_EQ(named.bar(6), "読む");
  EXPECT_EQ(named.bar(200).find('\n'), std::string::npos);
}

TEST(Progress, DrawsNothingWhereEscapeCodesAreNotKnown) {
  for (const char* value : {"dumb", "", static_cast<const char*>(nullptr)}) {
    const TermVariable term(value);
    Terminal terminal(80);
    {
      Progress progress(terminal.out(), "train", 10);
      progress.update(5, "note");
      progress.line("step 5");
    }
    EXPECT_EQ(terminal.text(), "step 5\r\n");
  }
}

TEST(Progress, GoesOnWhereNothingCanBeWritten) {
  std::FILE* out = std::fopen("/dev/full", "w");
  {
    Progress progress(out, "train", 10);
    EXPECT_FALSE(progress.lost());
    progress.line("step 5");
    EXPECT_TRUE(progress.lost());
    progress.line("step 6");
  }
  std::fclose(out);
}

TEST(Progress, WritesPlainLinesToAPipe) {
  const TempFolder folder;
  std::FILE* out = std::fopen((folder / "out").c_str(), "w");
  {
    Progress progress(out, "train", 10);
    EXPECT_FALSE(progress.is_terminal());
    progress.update(5, "note");
    progress.line("step 5");
  }
  std::fclose(out);
  EXPECT_EQ(read_file(folder / "out"), "step 5\n");
}

TEST(Progress, AnEmptyJobIsDone) {
  const TempFolder folder;
  std::FILE* out = std::fopen((folder / "out").c_str(), "w");
  EXPECT_EQ(Progress(out, "x", 0).bar(80).substr(0, 8), "x [=====");
  std::fclose(out);
}

}  // namespace
}  // namespace wt
