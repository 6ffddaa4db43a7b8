#include "core/temporary.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <vector>

#include "core/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_folder.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> entries(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// Runs `work` in a process of its own, which it must not leave by returning.
int status_of_child(const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    work();
    ::_exit(99);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

TEST(Temporaries, EachHasANameOfItsOwn) {
  const TempFolder folder;
  const Temporary a(folder / "out", Temporary::Kind::kFile, 0666), b(folder / "out", Temporary::Kind::kFile, 0666);
  EXPECT_NE(a.path(), b.path());
  EXPECT_EQ(a.path().rfind(folder / ".out.wt-", 0), 0u) << a.path();
  EXPECT_EQ(entries(folder.path()).size(), 2u) << "one that is in use must stay";
}

// Processes in different containers have the same ids and know nothing of each other: forked ones with the same path.
TEST(Temporaries, WritersOfTheSameFileDoNotMix) {
  const TempFolder folder;
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (int round = 0; round < 20; ++round) {
        AtomicFile file(folder / "out");
        for (int part = 0; part < 50; ++part) file.write(std::string(100, static_cast<char>('a' + i)));
        file.commit();
      }
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  const std::string text = read_file(folder / "out");
  EXPECT_EQ(text.size(), 5000u);
  EXPECT_EQ(text.find_first_not_of(text[0]), std::string::npos);
  EXPECT_EQ(entries(folder.path()), std::vector<std::string>{"out"});
}

TEST(Temporaries, WhatAKilledProcessLeftGoesWithTheNextOne) {
  const TempFolder folder;
  write_file(folder / ".out.wt-mine0000.tmp", "not ours: no such digits");
  write_file(folder / ".other.wt-01234567.tmp", "of another file");
  const int status = status_of_child([&] {
    AtomicFile file(folder / "out");
    file.write("half");
    const Temporary made(folder / "out", Temporary::Kind::kFolder, 0777);
    write_file(made.path() + "/config.json", "{}");
    ::raise(SIGKILL);
  });
  EXPECT_TRUE(WIFSIGNALED(status));
  ASSERT_EQ(entries(folder.path()).size(), 4u);
  write_file(folder / "out", "whole");
  EXPECT_EQ(entries(folder.path()),
            (std::vector<std::string>{".other.wt-01234567.tmp", ".out.wt-mine0000.tmp", "out"}));
}

TEST(Temporaries, ASignalThatEndsTheProcessRemovesThem) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const TempFolder folder;
    write_file(folder / "out", "old");
    const int status = status_of_child([&] {
      struct sigaction standard {};
      standard.sa_handler = SIG_DFL;
      ::sigaction(signal, &standard, nullptr);
      remove_temporaries_on_signals();
      AtomicFile file(folder / "out");
      file.write("half");
      const Temporary made(folder / "model", Temporary::Kind::kFolder, 0777);
      for (int i = 0; i < 300; ++i) std::ofstream(cat(made.path(), "/part", i)) << "{}";
      AtomicFile inside(made.path() + "/weights");
      ::raise(signal);
    });
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal) << status;
    EXPECT_EQ(entries(folder.path()), std::vector<std::string>{"out"});
    EXPECT_EQ(read_file(folder / "out"), "old");
  }
}

TEST(Temporaries, AnIgnoredSignalStaysIgnored) {
  const TempFolder folder;
  const int status = status_of_child([&] {
    ::signal(SIGINT, SIG_IGN);  // as a shell script's & does
    remove_temporaries_on_signals();
    AtomicFile file(folder / "out");
    ::raise(SIGINT);
    file.commit();
    ::_exit(7);
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << status;
  EXPECT_EQ(entries(folder.path()), std::vector<std::string>{"out"});
}

TEST(Temporaries, AFolderTakesItsNameAtTheEnd) {
  const TempFolder folder;
  {
    Temporary made(folder / "model", Temporary::Kind::kFolder, 0777);
    write_file(made.path() + "/a", "x");
    made.rename_to(folder / "model");
  }
  EXPECT_EQ(read_file(folder / "model/a"), "x");
  EXPECT_EQ(entries(folder.path()), std::vector<std::string>{"model"});
  EXPECT_ERROR(Temporary(folder / "none/model", Temporary::Kind::kFolder, 0777), Error,
               "none/model: No such file or directory");
}

}  // namespace
}  // namespace wt
