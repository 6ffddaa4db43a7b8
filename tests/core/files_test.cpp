#include "core/files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "tests/support/expect_error.h"
#include "tests/support/file_limit.h"
#include "tests/support/temp_folder.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

std::size_t count_entries(const std::string& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator{}));
}

TEST(Files, WriteThenReadGivesTheSameBytes) {
  const TempFolder folder;
  std::string text = "line\n";
  text.push_back('\0');
  text.append(200'000, 'x');
  write_file(folder / "a", text);
  EXPECT_EQ(read_file(folder / "a"), text);
  write_file(folder / "a", "short");
  EXPECT_EQ(read_file(folder / "a"), "short");
  EXPECT_EQ(count_entries(folder.path()), 1u);
}

TEST(Files, ReadingSaysWhatIsWrong) {
  const TempFolder folder;
  EXPECT_ERROR(read_file(folder / "none"), Error, "none: No such file or directory");
  EXPECT_ERROR(read_file(folder.path()), Error, "Is a directory");
}

TEST(Files, WithoutCommitNothingChanges) {
  const TempFolder folder;
  write_file(folder / "a", "old");
  {
    AtomicFile file(folder / "a");
    file.write("new");
  }
  EXPECT_EQ(read_file(folder / "a"), "old");
  EXPECT_EQ(count_entries(folder.path()), 1u);
}

TEST(Files, AFullDiskLeavesTheOldFile) {
  const TempFolder folder;
  write_file(folder / "a", "old");
  {
    const FileSizeLimit limit(1000);
    EXPECT_ERROR(write_file(folder / "a", std::string(5000, 'x')), Error, "a: File too large");
  }
  EXPECT_EQ(read_file(folder / "a"), "old");
  EXPECT_EQ(count_entries(folder.path()), 1u);
}

TEST(Files, DeviceFilesAreWrittenDirectly) {
  EXPECT_ERROR(write_file("/dev/full", "x"), Error, "cannot write /dev/full: No space left on device");
  write_file("/dev/null", "x");
  struct stat status {};
  ASSERT_EQ(::stat("/dev/null", &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
}

TEST(Files, ASymbolicLinkStaysALink) {
  const TempFolder folder;
  write_file(folder / "target", "old");
  fs::create_symlink("target", folder / "link");
  write_file(folder / "link", "new");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(read_file(folder / "target"), "new");
}

TEST(Files, MissingOrUnfitTargetsAreNamed) {
  const TempFolder folder;
  EXPECT_ERROR(write_file(folder / "none/a", "x"), Error, "none/a: No such file or directory");
  EXPECT_ERROR(write_file(folder.path(), "x"), Error, "it is a folder");
  write_file(folder / "file", "x");
  EXPECT_ERROR(write_file(folder / "file/a", "x"), Error, "file/a: Not a directory");
  EXPECT_ERROR(sync_folder(folder / "none"), Error, "No such file or directory");
  EXPECT_ERROR(write_file("/proc/none", "x"), Error, "cannot write /proc/none: ");
}

}  // namespace
}  // namespace wt
