#include "train/models/model_folder.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "core/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_folder.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

TEST(ModelFolder, WhatLiesBesideItStays) {
  const TempFolder folder;
  fs::create_directory(folder / "out.partial");
  write_file(folder / "out.partial/mine", "x");
  make_folder(folder / "a/b/../out/", [](const std::string& partial) { write_file(partial + "/config.json", "{}"); });
  make_folder(folder / "out", [](const std::string& partial) { write_file(partial + "/config.json", "{}"); });
  EXPECT_EQ(read_file(folder / "out/config.json"), "{}");
  EXPECT_EQ(read_file(folder / "a/out/config.json"), "{}");
  EXPECT_EQ(read_file(folder / "out.partial/mine"), "x");
  EXPECT_EQ(folder.num_hidden(), 0);
}

TEST(ModelFolder, AFailureLeavesNothing) {
  const TempFolder folder;
  const auto fail = [](const std::string& partial) {
    write_file(partial + "/config.json", "{}");
    throw Error("no");
  };
  EXPECT_ERROR(make_folder(folder / "out", fail), Error, "no");
  EXPECT_TRUE(fs::is_empty(folder.path()));
  write_file(folder / "file", "x");
  fs::create_symlink("nothing", folder / "link");
  for (const std::string name : {"file", "link"}) {
    EXPECT_ERROR(make_folder(folder / name, fail), UsageError, name + ": exists already; name a new folder");
  }
  EXPECT_ERROR(make_folder(folder / "file/out", fail), Error, "file");
}

}  // namespace
}  // namespace wt
