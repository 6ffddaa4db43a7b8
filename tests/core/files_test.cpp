#include "core/files.h"

#include <fcntl.h>
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

TEST(Files, ALinkToNothingYetMakesTheFileItNames) {
  const TempFolder folder;
  fs::create_directory(folder / "there");
  fs::create_symlink("there/file", folder / "link");
  fs::create_symlink("link", folder / "second");
  write_file(folder / "second", "new");
  EXPECT_TRUE(fs::is_symlink(folder / "link") && fs::is_symlink(folder / "second"));
  EXPECT_EQ(read_file(folder / "there/file"), "new");
  fs::create_symlink("round", folder / "round");
  EXPECT_ERROR(write_file(folder / "round", "x"), Error, "round: Too many levels of symbolic links");
}

mode_t mode_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0);
  return status.st_mode & 07777;
}

TEST(Files, TheModeOfAReplacedFileStays) {
  const TempFolder folder;
  const mode_t before = ::umask(027);
  write_file(folder / "new", "x");
  EXPECT_EQ(mode_of(folder / "new"), 0640u) << "the umask is for new files";
  for (const mode_t mode : {0600u, 0666u, 0444u, 0755u}) {
    ASSERT_EQ(::chmod((folder / "new").c_str(), mode), 0);
    write_file(folder / "new", "y");
    EXPECT_EQ(mode_of(folder / "new"), mode);
  }
  ::umask(before);
}

TEST(Files, EveryLegalNameCanBeWritten) {
  const TempFolder folder;
  std::string umlauts;
  while (umlauts.size() + 2 <= 255) umlauts += "ü";
  for (const std::string& name : {std::string(251, 'a'), std::string(255, 'b'), umlauts}) {
    write_file(folder / name, "x");
    write_file(folder / name, "y");
    EXPECT_EQ(read_file(folder / name), "y");
    const std::string beside = unfinished_path(folder / name);
    write_file(beside, "z");
    EXPECT_EQ(unfinished_path(folder / name), beside + "2");
  }
  EXPECT_EQ(count_entries(folder.path()), 6u);
}

// To open /dev/fd/N would begin the file anew.
TEST(Files, AnOpenDescriptorGoesOnWhereItStands) {
  const TempFolder folder;
  write_file(folder / "log", "earlier\n");
  const int log = ::open((folder / "log").c_str(), O_WRONLY | O_APPEND);
  ASSERT_GE(log, 0);
  for (const char* name : {"/dev/fd/", "/proc/self/fd/"}) write_file(name + std::to_string(log), "more\n");
  ::close(log);
  EXPECT_EQ(read_file(folder / "log"), "earlier\nmore\nmore\n");
}

TEST(Files, UnfinishedResultsGoBesideWhatIsThere) {
  const TempFolder folder;
  EXPECT_EQ(unfinished_path(folder / "a"), folder / "a");
  EXPECT_EQ(unfinished_path("/dev/null"), "/dev/null");
  write_file(folder / "a", "whole");
  EXPECT_EQ(unfinished_path(folder / "a"), folder / "a.partial");
  write_file(folder / "a.partial", "of the user's");
  {
    AtomicFile file(folder / "a");
    file.write("some");
    file.commit_as(unfinished_path(folder / "a"));
  }
  EXPECT_EQ(read_file(folder / "a"), "whole");
  EXPECT_EQ(read_file(folder / "a.partial"), "of the user's");
  EXPECT_EQ(read_file(folder / "a.partial2"), "some");
  fs::create_symlink("a", folder / "link");
  EXPECT_EQ(unfinished_path(folder / "link"), folder / "a.partial3");
}

TEST(Files, FoldersAreMadeWithThoseAboveThem) {
  const TempFolder folder;
  make_folders(folder / "a/b/c/");
  make_folders(folder / "a/b");
  EXPECT_TRUE(fs::is_directory(folder / "a/b/c"));
  write_file(folder / "file", "x");
  EXPECT_ERROR(make_folders(folder / "file/x"), Error, "file");
  EXPECT_ERROR(make_folders(folder / "file"), Error, "cannot make folder ");
  EXPECT_EQ(folder_of("file"), ".");
  EXPECT_EQ(folder_of("/a/file"), "/a");
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
