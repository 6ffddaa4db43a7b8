#include "data/books_cache.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "core/files.h"
#include "core/random.h"
#include "data/books.h"
#include "tests/data/data_test_support.h"
#include "tests/support/books.h"
#include "tests/support/expect_error.h"
#include "tests/support/file_limit.h"

namespace wt {
namespace {

namespace fs = std::filesystem;
using test::put;
using test::shipped_tokenizer;

std::string prose(int sentences, int seed) {
  RandomStream random(static_cast<std::uint64_t>(seed), random_stream(RandomPurpose::kTest, 77));
  std::string text;
  for (int i = 0; i < sentences; ++i) {
    text += cat("The ", random.below(1000), "th traveller slept by river number ", random.below(100000), ".\n");
    if (random.below(5) == 0) text += "\n";
  }
  return text;
}

class BooksCache : public ::testing::Test {
 protected:
  void SetUp() override {
    put(folder_ / "in/a.txt", prose(8000, 1));
    put(folder_ / "in/b.txt", prose(50, 2));
  }
  std::shared_ptr<const BookText> load(const BooksProgress& progress = {}) {
    return load_books(folder_ / "in", shipped_tokenizer(),
                      {.cache = cache_.path(),
                       .progress =
                           [&](BooksPhase phase, const std::string& name, std::int64_t done, std::int64_t total) {
                             tokenized_ |= phase == BooksPhase::kTokenizing;
                             if (progress) progress(phase, name, done, total);
                           },
                       .notice = [&](const std::string& line) { notices_.push_back(line); }});
  }
  // Whether another load tokenises.
  bool tokenizes() {
    tokenized_ = false;
    load();
    return tokenized_;
  }
  std::string kept() const {
    std::vector<std::string> files;
    for (const auto& entry : fs::directory_iterator(cache_.path())) {
      if (entry.path().extension() != ".key") files.push_back(entry.path().string());
    }
    EXPECT_EQ(files.size(), 1u);
    return files.empty() ? "" : files.front();
  }
  TempFolder folder_, cache_;
  bool tokenized_ = false;
  std::vector<std::string> notices_;
};

std::vector<std::int32_t> all_tokens(const BookText& books) {
  std::vector<std::int32_t> out;
  for (std::int64_t s = 0; s < books.num_sentences(); ++s) books.append_sentence(s, 1 << 20, out);
  return out;
}

TEST_F(BooksCache, ASecondStartFindsTheTokens) {
  const auto first = load();
  EXPECT_TRUE(tokenized_);
  EXPECT_EQ(first->num_books(), 2);
  EXPECT_EQ(first->book_name(1), "b.txt");
  EXPECT_EQ(first->book_at(first->first_sentence(1)), 1);
  EXPECT_EQ(first->book_at(first->first_sentence(1) - 1), 0);
  const std::string file = kept();
  EXPECT_FALSE(tokenizes());
  EXPECT_EQ(all_tokens(*load()), all_tokens(*first));
  // Each of these decides the tokens or the books' names.
  put(folder_ / "in/b.txt", prose(50, 3));
  EXPECT_TRUE(tokenizes());
  put(folder_ / "in/b.txt", prose(50, 2));
  EXPECT_FALSE(tokenizes());
  fs::rename(folder_ / "in/b.txt", folder_ / "in/c.txt");
  EXPECT_TRUE(tokenizes());
  fs::rename(folder_ / "in/c.txt", folder_ / "in/b.txt");
  const Tokenizer gpt2 = Tokenizer::load(WAVETAPE_SOURCE_DIR "/tests/fixtures/gpt2");
  EXPECT_EQ(load_books(folder_ / "in", gpt2, {.cache = cache_.path(), .progress = {}, .notice = {}})->vocab_size(),
            gpt2.vocab_size());
  EXPECT_FALSE(tokenizes());
  EXPECT_TRUE(notices_.empty());
  EXPECT_TRUE(fs::exists(file));
}

TEST_F(BooksCache, FilesLeftAloneAreNotReadAgain) {
  std::this_thread::sleep_for(std::chrono::milliseconds(3100));  // until their times are old enough to tell
  const std::int64_t num_books = load()->num_books();
  std::string note;
  for (const auto& entry : fs::directory_iterator(cache_.path())) {
    if (entry.path().extension() == ".key") note = entry.path().string();
  }
  ASSERT_FALSE(note.empty());
  // A note that names the tokens of other books is believed, which shows that the books' bytes were not looked at.
  const std::string right = test::slurp(note);
  load_books(folder_ / "in/b.txt", shipped_tokenizer(), {.cache = cache_.path(), .progress = {}, .notice = {}});
  for (const auto& entry : fs::directory_iterator(cache_.path())) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".tokens") && name != cat("books-", right, ".tokens")) put(note, name.substr(6, 16));
  }
  EXPECT_EQ(load()->num_books(), 1);
  for (const std::string& damaged : {std::string("0123456789abcdef"), std::string("../../../../etc/"), right + "\n"}) {
    put(note, damaged);
    EXPECT_EQ(load()->num_books(), num_books) << damaged;
    EXPECT_EQ(test::slurp(note), right);
  }
  // The same size and time of change, other bytes.
  const auto time = fs::last_write_time(folder_ / "in/b.txt");
  std::string text = test::slurp(folder_ / "in/b.txt");
  text[0] = 'X';
  put(folder_ / "in/b.txt", text);
  fs::last_write_time(folder_ / "in/b.txt", time);
  EXPECT_TRUE(tokenizes());
}

TEST_F(BooksCache, DamageIsFoundAndMadeGood) {
  const std::vector<std::int32_t> expected = all_tokens(*load());
  const std::string file = kept(), whole = test::slurp(file);
  RandomStream random(4, random_stream(RandomPurpose::kTest, 5));
  for (int i = 0; i < 40; ++i) {
    std::string bytes = whole;
    if (i % 4 == 0) {
      bytes.resize(random.below(bytes.size()));
    } else if (i % 4 == 1) {
      bytes += "x";
    } else {
      // The end of the file is where its description stands.
      const std::size_t at = bytes.size() - 1 - random.below(i % 4 == 2 ? 100 : bytes.size());
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
    }
    put(file, bytes);
    notices_.clear();
    ASSERT_TRUE(tokenizes()) << i;
    ASSERT_EQ(notices_.size(), 1u);
    EXPECT_NE(notices_[0].find(file), std::string::npos) << notices_[0];
    ASSERT_EQ(test::slurp(kept()), whole) << i;
  }
  EXPECT_EQ(all_tokens(*load()), expected);
}

TEST_F(BooksCache, ALargeFileIsCheckedWhereItIsRead) {
  const auto good = load();
  const std::string key = fs::path(kept()).filename().string().substr(6, 16);
  std::string bytes = test::slurp(kept());
  ASSERT_GT(bytes.size(), 3u << 16);
  bytes[70000] = static_cast<char>(bytes[70000] ^ 1);  // in the second block: tokens of the first book
  const std::string damaged = put(folder_ / "damaged", bytes);
  EXPECT_ERROR(BookText::open(damaged, 2048, key), Error, "damaged: damaged at byte 65536 or behind it");
  const auto books = BookText::open(damaged, 2048, key, 0);
  std::vector<std::int32_t> tokens, expected;
  books->append_sentence(0, 1000, tokens);
  good->append_sentence(0, 1000, expected);
  EXPECT_EQ(tokens, expected);
  EXPECT_EQ(books->book_name(1), "b.txt");
  EXPECT_EQ(books->first_sentence(1), good->first_sentence(1));
  for (int i = 0; i < 2; ++i) {
    EXPECT_ERROR(books->append_sentence(books->sentence_at(35000), 1000, tokens), Error,
                 "damaged: damaged at byte 65536 or behind it; delete the file, and the next start makes it anew");
  }
}

TEST_F(BooksCache, AnotherTokenizersFileIsNotTaken) {
  load();
  EXPECT_ERROR(BookText::open(kept(), 2048, "0123456789abcdef"), Error,
               "made of other books or with another tokenizer");
  EXPECT_ERROR(BookText::open(folder_ / "in/a.txt", 2048, "0123456789abcdef"), Error, "a.txt: no file of tokens");
  EXPECT_ERROR(BookText::open(folder_ / "none", 2048, "0123456789abcdef"), Error, "No such file");
}

TEST_F(BooksCache, WhatStopsTheWorkLeavesNothing) {
  EXPECT_ERROR(load([](BooksPhase phase, const std::string&, std::int64_t, std::int64_t) {
                 if (phase == BooksPhase::kTokenizing) throw UsageError("stopped");
               }),
               UsageError, "stopped");
  EXPECT_EQ(test::num_files(cache_), 0u);
  put(folder_ / "in/a.txt", std::string("no\0text", 7));
  EXPECT_ERROR(load(), Error, "a.txt: byte 2 is NUL");
  EXPECT_EQ(test::num_files(cache_), 0u);
}

TEST_F(BooksCache, AFullDiskIsOneLineAndLeavesNothing) {
  std::string message;
  {
    const FileSizeLimit limit(20000);
    try {
      load();
    } catch (const Error& error) {
      message = error.what();
    }
  }
  EXPECT_NE(message.find("cannot write " + cache_.path()), std::string::npos) << message;
  EXPECT_EQ(test::num_files(cache_), 0u);
}

TEST_F(BooksCache, LeftoversOfAKilledProcessAreRemoved) {
  load();
  const std::string file = kept();
  put((fs::path(file).parent_path() / ("." + fs::path(file).filename().string() + ".123.tmp")).string(), "half");
  fs::remove(file);
  load();
  EXPECT_EQ(kept(), file);
}

TEST_F(BooksCache, SeveralProcessesMakeItOnce) {
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      bool right = false;
      try {
        right = load()->num_books() == 2;
      } catch (const Error&) {
      }
      ::_exit(right ? (tokenized_ ? 1 : 0) : 9);
    }
    children.push_back(child);
  }
  int made = 0;
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    ASSERT_LT(WEXITSTATUS(status), 2);
    made += WEXITSTATUS(status);
  }
  EXPECT_EQ(made, 1);
  EXPECT_FALSE(tokenizes());
  kept();  // and nothing else
}

TEST(CacheLock, OneAtATimeAndTheFileGoesWithIt) {
  const TempFolder folder;
  std::atomic<bool> waited{false}, free{false};
  std::thread other;
  {
    const CacheLock lock(folder / "x.lock", [] { FAIL(); });
    EXPECT_TRUE(lock.held());
    other = std::thread([&] {
      const CacheLock second(folder / "x.lock", [&] { waited = true; });
      EXPECT_TRUE(free);
    });
    while (!waited) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    free = true;
  }
  other.join();
  EXPECT_EQ(test::num_files(folder), 0u);
}

TEST(BooksCacheFolder, IsWhereTheEnvironmentSays) {
  const TempFolder folder;
  const auto saved = [](const char* name) {
    return std::string(std::getenv(name) == nullptr ? "" : std::getenv(name));
  };
  const std::string cache = saved("WAVETAPE_CACHE"), xdg = saved("XDG_CACHE_HOME"), home = saved("HOME");
  ::setenv("WAVETAPE_CACHE", (folder / "here").c_str(), 1);
  EXPECT_EQ(books_cache_folder(), folder / "here");
  EXPECT_TRUE(fs::is_directory(folder / "here"));
  put(folder / "file", "x");
  ::setenv("WAVETAPE_CACHE", (folder / "file/sub").c_str(), 1);
  EXPECT_ERROR(books_cache_folder(), Error, "file/sub (WAVETAPE_CACHE): Not a directory");
  ::unsetenv("WAVETAPE_CACHE");
  ::setenv("XDG_CACHE_HOME", (folder / "xdg").c_str(), 1);
  EXPECT_EQ(books_cache_folder(), folder / "xdg/wavetape");
  ::setenv("XDG_CACHE_HOME", "relative", 1);
  ::setenv("HOME", (folder / "home").c_str(), 1);
  EXPECT_EQ(books_cache_folder(), folder / "home/.cache/wavetape");
  ::setenv("HOME", (folder / "file").c_str(), 1);
  EXPECT_EQ(fs::path(books_cache_folder()).filename().string(), cat("wavetape-", ::getuid()));
  const auto put_back = [](const char* name, const std::string& value) {
    value.empty() ? ::unsetenv(name) : ::setenv(name, value.c_str(), 1);
  };
  put_back("WAVETAPE_CACHE", cache);
  put_back("XDG_CACHE_HOME", xdg);
  put_back("HOME", home);
}

}  // namespace
}  // namespace wt
