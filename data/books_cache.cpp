#include "data/books_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <future>
#include <optional>
#include <system_error>
#include <thread>

#include "core/error.h"
#include "core/file_reader.h"
#include "core/files.h"
#include "data/books.h"
#include "data/books_file.h"
#include "data/fingerprint.h"
#include "data/thread_pool.h"
#include "data/token_file.h"
#include "data/tokenize_texts.h"

namespace wt {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kPatience(100);  // between two calls of the progress
constexpr std::int64_t kSettled = 2;  // seconds after which a file's times show whether it has changed since
constexpr std::size_t kKeyLength = 16;
constexpr const char* kRules = "wavetape sentences 1";  // another number where texts give other sentences than before

bool is_hdf5_name(const std::string& path) {
  return path.ends_with(".h5") || path.ends_with(".hdf5");
}

std::string from_environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Hashes every file, on all cores.
void hash_files(std::vector<TextFile>& files, const BooksProgress& progress) {
  std::int64_t total = 0;
  for (const TextFile& file : files) total += file.bytes;
  std::atomic<std::int64_t> done{0};
  std::atomic<bool> stopped{false};
  ThreadPool pool(std::min(ThreadPool::num_cores(), files.size()));
  struct Stop {  // before the pool waits for what has begun
    std::atomic<bool>& stopped;
    ~Stop() { stopped = true; }
  } const stop{stopped};
  std::vector<std::future<std::uint64_t>> hashes;
  for (const TextFile& file : files) {
    hashes.push_back(pool.submit([&] {
      ContentHash hash;
      FileReader reader(file.path);
      for (std::string_view piece = reader.next(); !piece.empty() && !stopped; piece = reader.next()) {
        hash.add(piece);
        done += static_cast<std::int64_t>(piece.size());
      }
      return hash.value();
    }));
  }
  for (std::size_t i = 0; i < files.size(); ++i) {
    while (hashes[i].wait_for(kPatience) != std::future_status::ready) {
      if (progress) progress(BooksPhase::kChecking, book_file_name(files[i].path), done, total);
    }
    files[i].hash = hashes[i].get();
  }
}

// What decides the tokens.
std::string key_of(const std::vector<TextFile>& files, const Tokenizer& tokenizer, bool hdf5) {
  Fingerprint key;
  key.add(kRules);
  key.add(hdf5 ? "books.h5" : "text");
  key.add(tokenizer.fingerprint());
  for (const TextFile& file : files) {
    key.add(book_file_name(file.path));
    key.add(static_cast<std::int64_t>(*file.hash));
  }
  return key.hex();
}

// Of the files as they lie there, without reading them: any change of their bytes changes it, as long as the last one
// is some seconds old (times are that coarse). nullopt where one is newer.
std::optional<std::string> state_of(const std::vector<TextFile>& files, const Tokenizer& tokenizer, bool hdf5) {
  Fingerprint state;
  state.add(kRules);
  state.add(hdf5 ? "books.h5" : "text");
  state.add(tokenizer.fingerprint());
  struct timespec now {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  for (const TextFile& file : files) {
    struct stat status {};
    if (::stat(file.path.c_str(), &status) != 0) return std::nullopt;
    state.add(book_file_name(file.path));
    for (const auto number : {static_cast<std::int64_t>(status.st_dev), static_cast<std::int64_t>(status.st_ino),
                              static_cast<std::int64_t>(status.st_size)}) {
      state.add(number);
    }
    for (const struct timespec& time : {status.st_mtim, status.st_ctim}) {
      if (time.tv_sec + kSettled > now.tv_sec) return std::nullopt;
      state.add(static_cast<std::int64_t>(time.tv_sec));
      state.add(static_cast<std::int64_t>(time.tv_nsec));
    }
  }
  return state.hex();
}

// The key that files in this state had, as an earlier start has noted it; "" where none has.
std::string noted_key(const std::string& note) {
  std::error_code ignored;
  if (!fs::is_regular_file(note, ignored) || fs::file_size(note, ignored) != kKeyLength) return "";
  const std::string key = read_file(note);
  return key.find_first_not_of("0123456789abcdef") == std::string::npos ? key : "";
}

// What a process that was killed in the middle has left. For the holder of the lock.
void remove_leftovers(const std::string& file) {
  const fs::path path(file);
  const std::string begin = "." + path.filename().string() + ".";
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(path.parent_path(), ignored)) {
    if (entry.path().filename().string().starts_with(begin)) fs::remove(entry.path(), ignored);
  }
}

// A folder of our own that nobody else can write into.
std::string temporary_cache() {
  const std::string folder = (fs::temp_directory_path() / cat("wavetape-", ::getuid())).string();
  struct stat status {};
  const bool made = ::mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST;
  if (!made || ::lstat(folder.c_str(), &status) != 0 || !S_ISDIR(status.st_mode) || status.st_uid != ::getuid() ||
      (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    throw Error(cat("no folder to keep tokens in (", folder, " is not ours alone): name one in WAVETAPE_CACHE"));
  }
  return folder;
}

}  // namespace

std::string books_cache_folder() {
  std::error_code error;
  if (const std::string named = from_environment("WAVETAPE_CACHE"); !named.empty()) {
    fs::create_directories(named, error);
    if (error) throw Error(cat("cannot make folder ", named, " (WAVETAPE_CACHE): ", error.message()));
    return named;
  }
  const std::string xdg = from_environment("XDG_CACHE_HOME"), home = from_environment("HOME");
  const std::string base = xdg.starts_with('/') ? xdg : home.starts_with('/') ? home + "/.cache" : "";
  if (base.empty()) return temporary_cache();
  const std::string users = base + "/wavetape";
  fs::create_directories(users, error);
  return error || ::access(users.c_str(), W_OK | X_OK) != 0 ? temporary_cache() : users;
}

CacheLock::CacheLock(const std::string& path, const std::function<void()>& waiting) : path_(path) {
  while (true) {
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor_ < 0) throw Error(cat("cannot write ", path_, ": ", std::strerror(errno)));
    try {
      while (!(held_ = ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) && (errno == EWOULDBLOCK || errno == EINTR)) {
        waiting();
        std::this_thread::sleep_for(kPatience);
      }
    } catch (...) {
      ::close(descriptor_);
      throw;
    }
    if (!held_) return;
    // Whoever held it may have removed the file meanwhile, and another have made a new one.
    struct stat mine {
    }, named{};
    if (::fstat(descriptor_, &mine) == 0 && ::stat(path_.c_str(), &named) == 0 && mine.st_ino == named.st_ino) return;
    ::close(descriptor_);
  }
}

CacheLock::~CacheLock() {
  if (held_) ::unlink(path_.c_str());
  ::close(descriptor_);
}

std::shared_ptr<const BookText> load_books(const std::string& path, const Tokenizer& tokenizer,
                                           const LoadBooksOptions& options) {
  const bool hdf5 = is_hdf5_name(path);
  std::vector<TextFile> files = text_files(hdf5 ? std::vector<std::string>{path} : find_books({path}));
  for (const TextFile& file : files) {
    std::error_code ignored;
    if (!fs::exists(file.path, ignored)) throw Error(cat(file.path, ": no such file"));
    if (!fs::is_regular_file(file.path, ignored)) {
      throw Error(
          cat(file.path, ": is no file that can be read twice: make a books.h5 of it with `wavetape data books`"));
    }
  }
  const std::string folder = options.cache.empty() ? books_cache_folder() : options.cache;
  const auto in_folder = [&](const std::string& name) { return (fs::path(folder) / name).string(); };
  const auto open_kept = [&](const std::string& key, bool report) -> std::shared_ptr<const BookText> {
    const std::string file = in_folder(cat("books-", key, ".tokens"));
    std::error_code ignored;
    if (!fs::exists(file, ignored)) return nullptr;
    try {
      return BookText::open(file, tokenizer.vocab_size(), key);
    } catch (const Error& error) {
      if (report && options.notice) options.notice(cat(error.what(), ": making it anew"));
      return nullptr;
    }
  };
  const std::optional<std::string> state = state_of(files, tokenizer, hdf5);
  const std::string note = state ? in_folder(cat("books-", *state, ".key")) : "";
  if (const std::string key = state ? noted_key(note) : ""; !key.empty()) {
    if (auto kept = open_kept(key, false)) return kept;
  }

  if (hdf5) check_books_file(path);  // before all of some large file is read
  hash_files(files, options.progress);
  const std::string key = key_of(files, tokenizer, hdf5);
  const auto noted = [&](std::shared_ptr<const BookText> books) {
    try {
      if (state && state_of(files, tokenizer, hdf5) == state) write_file(note, key);
    } catch (const Error&) {
      // A folder that is only to be read: the next start reads the books again to see that they are the same.
    }
    return books;
  };
  if (auto kept = open_kept(key, false)) return noted(kept);
  const std::string file = in_folder(cat("books-", key, ".tokens"));
  const CacheLock lock(file + ".lock", [&] {
    if (options.progress) options.progress(BooksPhase::kWaiting, path, 0, 0);
  });
  if (auto kept = open_kept(key, true)) return noted(kept);
  if (lock.held()) remove_leftovers(file);
  TokenFileWriter writer(file, tokenizer.vocab_size(), key);
  if (hdf5) {
    copy_books(path, tokenizer, writer, [&](std::int64_t done, std::int64_t total) {
      if (options.progress) options.progress(BooksPhase::kTokenizing, book_file_name(path), done, total);
    });
  } else {
    tokenize_texts(files, tokenizer, writer, options.progress);
  }
  writer.commit();
  return noted(BookText::open(file, tokenizer.vocab_size(), key));
}

}  // namespace wt
