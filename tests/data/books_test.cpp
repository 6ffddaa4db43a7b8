#include "data/books.h"

#include <hdf5/serial/hdf5.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>

#include "core/random.h"
#include "data/books_file.h"
#include "data/hdf5_file.h"
#include "tests/data/data_test_support.h"
#include "tests/support/books.h"
#include "tests/support/expect_error.h"
#include "tests/support/file_limit.h"

namespace wt {
namespace {

using test::put;
using test::shipped_tokenizer;

const char* const kEmma = "CHAPTER I\n\nEmma was handsome. She was clever,\nand rich.\n\nShe lived there.\n";

std::string sentence_text(const BookText& books, std::int64_t sentence) {
  std::vector<std::int32_t> tokens;
  books.append_sentence(sentence, 1 << 20, tokens);
  EXPECT_EQ(static_cast<std::int64_t>(tokens.size()), books.sentence_length(sentence));
  return shipped_tokenizer().decode(tokens);
}

void expect_emma_and_kim(const BookText& books) {
  ASSERT_EQ(books.num_books(), 2);
  EXPECT_EQ(books.book_name(0), "emma.txt");
  EXPECT_EQ(books.book_name(1), "kim.txt");
  ASSERT_EQ(books.num_sentences(), 6);
  EXPECT_EQ(books.first_sentence(1), 4);
  EXPECT_EQ(books.first_sentence(2), 6);
  const std::vector<std::string> expected{
      " CHAPTER I", " Emma was handsome.",         " She was clever, and rich.", " She lived there.",
      " He sat.",   " He went <|endoftext|> away."};
  for (std::int64_t s = 0; s < 6; ++s) EXPECT_EQ(sentence_text(books, s), expected[static_cast<std::size_t>(s)]);
  for (std::int64_t token = 0; token < books.num_tokens(); ++token) {
    const std::int64_t sentence = books.sentence_at(token);
    EXPECT_GE(token, books.first_token(sentence));
    EXPECT_LT(token, books.first_token(sentence + 1));
  }
  // Words of a book that spell a special token are plain text.
  std::vector<std::int32_t> tokens;
  books.append_sentence(5, 1 << 20, tokens);
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), shipped_tokenizer().require_id("<|endoftext|>")), 0);
  tokens.clear();
  books.append_sentence(2, 2, tokens);
  EXPECT_EQ(tokens.size(), 2u);
}

// Books as a sink gets them.
struct Collected : BookSink {
  void begin_book(const std::string& name) override { names.push_back(name); }
  void add(const TokenizedSentences& more) override {
    std::size_t at = 0;
    for (const std::int64_t length : more.lengths) {
      const auto begin = more.tokens.begin() + static_cast<std::ptrdiff_t>(at);
      sentences.emplace_back(begin, begin + length);
      at += static_cast<std::size_t>(length);
    }
    EXPECT_EQ(at, more.tokens.size());
  }
  std::vector<std::string> names;
  std::vector<std::vector<std::int32_t>> sentences;
};

class BooksFile : public ::testing::Test {
 protected:
  void SetUp() override {
    put(folder_ / "in/emma.txt", kEmma);
    put(folder_ / "in/sub/kim.txt", "He sat. He went <|endoftext|> away.");
    put(folder_ / "in/notes.md", "Not a book.");
  }
  BooksSummary make() { return tokenize_books({folder_ / "in"}, shipped_tokenizer(), folder_ / "books.h5"); }
  std::shared_ptr<const BookText> load(const std::string& path) {
    return load_books(path, shipped_tokenizer(), {.cache = folder_.path(), .progress = {}, .notice = {}});
  }
  Collected read() {
    Collected books;
    copy_books(folder_ / "books.h5", shipped_tokenizer(), books);
    return books;
  }
  // A books.h5 with contents of the test's choice.
  void write(const std::vector<std::int64_t>& sentences, const std::vector<std::int64_t>& books,
             const std::vector<std::string>& names, const std::vector<std::uint16_t>& tokens = {1, 2, 3, 4, 5}) {
    Hdf5Writer file(folder_ / "books.h5");
    file.attribute("format", "wavetape books");
    file.attribute("version", 1);
    file.attribute("tokenizer", shipped_tokenizer().fingerprint());
    file.attribute("vocab_size", static_cast<std::int64_t>(shipped_tokenizer().vocab_size()));
    file.append<std::uint16_t>("tokens", tokens);
    file.append<std::int64_t>("sentence_offsets", sentences);
    file.append<std::int64_t>("book_offsets", books);
    file.texts("book_names", names);
    file.commit();
  }
  TempFolder folder_;
};

TEST_F(BooksFile, WrittenAndReadBack) {
  std::vector<std::string> seen;
  const BooksSummary summary =
      tokenize_books({folder_ / "in"}, shipped_tokenizer(), folder_ / "books.h5",
                     [&](BooksPhase phase, const std::string& name, std::int64_t done, std::int64_t total) {
                       EXPECT_EQ(phase, BooksPhase::kTokenizing);
                       seen.push_back(cat(name, " ", done, "/", total));
                     });
  const std::size_t emma = std::string(kEmma).size();
  EXPECT_EQ(seen, (std::vector<std::string>{cat("emma.txt ", emma, "/", emma + 35),
                                            cat("kim.txt ", emma + 35, "/", emma + 35)}));
  EXPECT_EQ(test::num_files(folder_), 2u);  // the input's folder and books.h5: no temporary file is left
  const auto books = load(folder_ / "books.h5");
  expect_emma_and_kim(*books);
  EXPECT_EQ(summary.num_books, 2);
  EXPECT_EQ(summary.num_sentences, 6);
  EXPECT_EQ(summary.num_tokens, books->num_tokens());
  EXPECT_EQ(summary.num_bytes, static_cast<std::int64_t>(emma) + 35);
}

TEST_F(BooksFile, LoadedFromTextOrFile) {
  make();
  expect_emma_and_kim(*load(folder_ / "in"));
  expect_emma_and_kim(*load(folder_ / "books.h5"));
  EXPECT_EQ(load(folder_ / "in/notes.md")->num_books(), 1);
  EXPECT_ERROR(load(folder_ / "none.h5"), Error, "none.h5: no such file");
  EXPECT_ERROR(load(folder_ / "none.txt"), Error, "none.txt: no such file");
  EXPECT_ERROR(load("/dev/null"), Error, "/dev/null: is no file that can be read twice");
}

TEST_F(BooksFile, TheSameBooksAreTheSameBytes) {
  make();
  const std::string first = test::slurp(folder_ / "books.h5");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // HDF5 would note seconds
  make();
  EXPECT_EQ(test::slurp(folder_ / "books.h5"), first);
}

TEST_F(BooksFile, WhatStopsTheWorkLeavesNothing) {
  const auto stop = [](BooksPhase phase, const std::string&, std::int64_t, std::int64_t) {
    if (phase == BooksPhase::kTokenizing) throw UsageError("stopped");
  };
  EXPECT_ERROR(tokenize_books({folder_ / "in"}, shipped_tokenizer(), folder_ / "books.h5", stop), UsageError,
               "stopped");
  EXPECT_EQ(test::num_files(folder_), 1u);
}

TEST_F(BooksFile, AnotherTokenizersTokensAreRefused) {
  make();
  const Tokenizer gpt2 = Tokenizer::load(WAVETAPE_SOURCE_DIR "/tests/fixtures/gpt2");
  EXPECT_ERROR(load_books(folder_ / "books.h5", gpt2, {.cache = folder_.path(), .progress = {}, .notice = {}}), Error,
               "books.h5: made with another tokenizer");
  EXPECT_EQ(test::num_files(folder_), 2u);  // nothing half-made
}

TEST_F(BooksFile, DamageIsNamed) {
  EXPECT_ERROR(read(), Error, "books.h5");
  put(folder_ / "books.h5", "plain text");
  EXPECT_ERROR(read(), Error, "books.h5: no HDF5 file");
  put(folder_ / "books.h5", "");
  EXPECT_ERROR(read(), Error, "books.h5: no HDF5 file");
  Collected nothing;
  EXPECT_ERROR(copy_books(folder_.path(), shipped_tokenizer(), nothing), Error, "Is a directory");
  // Files of the older versions have no checksums.
  put(folder_ / "books.h5", std::string("\x89HDF\r\n\x1a\n\0", 9) + std::string(500, '\0'));
  EXPECT_ERROR(read(), Error, "books.h5: an HDF5 file of another kind (superblock 0)");

  write({0, 2, 5}, {0, 1, 2}, {"a", "b"});
  EXPECT_EQ(read().sentences.size(), 2u);
  write({0, 2, 4}, {0, 1, 2}, {"a", "b"});
  EXPECT_ERROR(read(), Error, "sentence_offsets do not go from 0 to 5");
  write({1, 2, 5}, {0, 1, 2}, {"a", "b"});
  EXPECT_ERROR(read(), Error, "sentence_offsets do not go from 0 to 5");
  write({0, 7, 5}, {0, 1, 2}, {"a", "b"});
  EXPECT_ERROR(read(), Error, "sentence_offsets do not rise to 5 at 1 (0, 7)");
  write({0, 0, 5}, {0, 1, 2}, {"a", "b"});
  EXPECT_ERROR(read(), Error, "sentence_offsets do not rise to 5 at 1 (0, 0)");
  write({0, 3, 2, 5}, {0, 3}, {"a"});
  EXPECT_ERROR(read(), Error, "sentence_offsets do not rise to 5 at 2 (3, 2)");
  write({0, 2, 5}, {0, 1, 3}, {"a", "b"});
  EXPECT_ERROR(read(), Error, "book_offsets do not go from 0 to 2");
  write({0, 2, 5}, {0, 9, 2}, {"a", "b"});
  EXPECT_ERROR(read(), Error, "book_offsets do not rise to 2 at 1 (0, 9)");
  write({0, 2, 5}, {0, 1, 2}, {"a"});
  EXPECT_ERROR(read(), Error, "1 book_names for 2 books");
  write({0, 2, 5}, {0, 1, 2}, {"a", "b"}, {1, 2, 3, 2048, 5});
  EXPECT_ERROR(read(), Error, "token 2048 at 3, expected below 2048");
  write({}, {0, 1, 2}, {"a", "b"});
  EXPECT_ERROR(read(), Error, "sentence_offsets do not go");
}

TEST_F(BooksFile, WrongTypesAndVersionsAreNamed) {
  const auto write_with = [&](const std::function<void(Hdf5Writer&)>& contents) {
    Hdf5Writer file(folder_ / "books.h5");
    contents(file);
    file.commit();
  };
  write_with([](Hdf5Writer& file) { file.attribute("other", 1); });
  EXPECT_ERROR(read(), Error, "another kind, expected format `wavetape books`");
  write_with([](Hdf5Writer& file) { file.attribute("format", 7); });
  EXPECT_ERROR(read(), Error, "attribute format is missing or no text");
  write_with([](Hdf5Writer& file) { file.attribute("format", "wavetape books"); });
  EXPECT_ERROR(read(), Error, "attribute version is missing or no integer");
  write_with([](Hdf5Writer& file) {
    file.attribute("format", "wavetape books");
    file.attribute("version", 2);
  });
  EXPECT_ERROR(read(), Error, "version 2 of wavetape books, this program reads version 1");
  const auto head = [](Hdf5Writer& file) {
    file.attribute("format", "wavetape books");
    file.attribute("version", 1);
    file.attribute("tokenizer", shipped_tokenizer().fingerprint());
    file.attribute("vocab_size", static_cast<std::int64_t>(shipped_tokenizer().vocab_size()));
  };
  write_with(head);
  EXPECT_ERROR(read(), Error, "no dataset tokens");
  const std::vector<std::int64_t> wide{1, 2}, offsets{0, 2}, books{0, 1};
  write_with([&](Hdf5Writer& file) {
    head(file);
    file.append<std::int64_t>("tokens", wide);
    file.append<std::int64_t>("sentence_offsets", offsets);
    file.append<std::int64_t>("book_offsets", books);
    file.texts("book_names", {"a"});
  });
  EXPECT_ERROR(read(), Error, "dataset tokens has another integer type");
  write_with([&](Hdf5Writer& file) {
    head(file);
    file.texts("tokens", {"a", "b"});
    file.append<std::int64_t>("sentence_offsets", offsets);
    file.append<std::int64_t>("book_offsets", books);
    file.append<std::int64_t>("book_names", books);
  });
  EXPECT_ERROR(read(), Error, "dataset book_names holds no texts");
}

TEST_F(BooksFile, AClaimOfTerabytesIsRefused) {
  write({0, 2, 5}, {0, 1, 2}, {"a", "b"});
  const hid_t file = H5Fopen((folder_ / "books.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  const hid_t dataset = H5Dopen2(file, "sentence_offsets", H5P_DEFAULT);
  const hsize_t huge = hsize_t{1} << 42;
  EXPECT_GE(H5Dset_extent(dataset, &huge), 0);
  H5Dclose(dataset);
  H5Fclose(file);
  EXPECT_ERROR(read(), Error, "dataset sentence_offsets claims 4398046511104 elements");
}

// Changes the file that write() made, with the library itself.
class ForeignBooksFile : public BooksFile {
 protected:
  void SetUp() override {
    write({0, 2, 5}, {0, 1, 2}, {"a", "b"});
    file_ = H5Fopen((folder_ / "books.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    ASSERT_GE(file_, 0);
    space_ = H5Screate_simple(1, &three_, nullptr);
    options_ = H5Pcreate(H5P_DATASET_CREATE);
  }
  // Makes room for another dataset of that name.
  void replace(const char* name) { EXPECT_GE(H5Ldelete(file_, name, H5P_DEFAULT), 0); }
  void expect(const std::string& message) {
    H5Pclose(options_);
    H5Sclose(space_);
    EXPECT_GE(H5Fclose(file_), 0);
    EXPECT_ERROR(read(), Error, message);
  }
  const hsize_t three_ = 3;
  hid_t file_ = -1, space_ = -1, options_ = -1;
};

TEST_F(ForeignBooksFile, LinksToOtherPlacesAreRefused) {
  replace("sentence_offsets");
  EXPECT_GE(H5Lcreate_external("other.h5", "/sentence_offsets", file_, "sentence_offsets", H5P_DEFAULT, H5P_DEFAULT),
            0);
  expect("dataset sentence_offsets is a link to another place or file");
}

TEST_F(ForeignBooksFile, SoftLinksAreRefused) {
  replace("sentence_offsets");
  EXPECT_GE(H5Lcreate_soft("/book_offsets", file_, "sentence_offsets", H5P_DEFAULT, H5P_DEFAULT), 0);
  expect("dataset sentence_offsets is a link to another place or file");
}

TEST_F(ForeignBooksFile, DataOutsideTheFileIsRefused) {
  replace("sentence_offsets");
  put(folder_ / "raw", std::string(24, '\0'));
  EXPECT_GE(H5Pset_external(options_, (folder_ / "raw").c_str(), 0, 24), 0);
  H5Dclose(H5Dcreate2(file_, "sentence_offsets", H5T_STD_I64LE, space_, H5P_DEFAULT, options_, H5P_DEFAULT));
  expect("dataset sentence_offsets keeps its data in another file (external storage)");
}

TEST_F(ForeignBooksFile, VirtualDataIsRefused) {
  replace("sentence_offsets");
  EXPECT_GE(H5Pset_virtual(options_, space_, "other.h5", "/x", space_), 0);
  H5Dclose(H5Dcreate2(file_, "sentence_offsets", H5T_STD_I64LE, space_, H5P_DEFAULT, options_, H5P_DEFAULT));
  expect("dataset sentence_offsets is put together from other files (virtual layout)");
}

TEST_F(ForeignBooksFile, CompressedDataIsRefused) {
  replace("sentence_offsets");
  EXPECT_GE(H5Pset_chunk(options_, 1, &three_), 0);
  EXPECT_GE(H5Pset_deflate(options_, 9), 0);
  H5Dclose(H5Dcreate2(file_, "sentence_offsets", H5T_STD_I64LE, space_, H5P_DEFAULT, options_, H5P_DEFAULT));
  expect("dataset sentence_offsets is stored through filter 1, expected nothing but checksums");
}

TEST_F(ForeignBooksFile, ATextOfGigabytesIsRefused) {
  replace("book_names");
  const hid_t type = H5Tcopy(H5T_C_S1);
  EXPECT_GE(H5Tset_size(type, (std::size_t{1} << 31) - 8), 0);
  H5Dclose(H5Dcreate2(file_, "book_names", type, space_, H5P_DEFAULT, options_, H5P_DEFAULT));
  H5Tclose(type);
  expect("dataset book_names has elements of 2147483640 bytes, expected at most 65536");
}

TEST_F(ForeignBooksFile, ChunksOfGigabytesAreRefused) {
  replace("sentence_offsets");
  const hsize_t many = hsize_t{1} << 28, unlimited = H5S_UNLIMITED;
  const hid_t space = H5Screate_simple(1, &three_, &unlimited);
  EXPECT_GE(H5Pset_chunk(options_, 1, &many), 0);
  H5Dclose(H5Dcreate2(file_, "sentence_offsets", H5T_STD_I64LE, space, H5P_DEFAULT, options_, H5P_DEFAULT));
  H5Sclose(space);
  expect("dataset sentence_offsets has chunks of 268435456 elements");
}

TEST_F(BooksFile, ACutFileIsRefusedWhereverTheCut) {
  make();
  const std::string whole = test::slurp(folder_ / "books.h5");
  int refused = 0;
  for (std::size_t length = 0; length < whole.size(); length += whole.size() / 97 + 1) {
    put(folder_ / "books.h5", whole.substr(0, length));
    try {
      read();
    } catch (const Error&) {
      ++refused;
      continue;
    }
    ADD_FAILURE() << "read a file cut to " << length << " of " << whole.size() << " bytes";
  }
  EXPECT_GT(refused, 90);
}

TEST_F(BooksFile, AFlippedByteIsRefusedOrHarmless) {
  make();
  const std::string whole = test::slurp(folder_ / "books.h5");
  const Collected expected = read();
  RandomStream random(4, random_stream(RandomPurpose::kTest, 4));
  int refused = 0;
  for (int i = 0; i < 400; ++i) {
    std::string bytes = whole;
    // Half of them at the front, where the description of the file is.
    const std::size_t at = random.below(i % 2 == 0 ? std::min<std::size_t>(bytes.size(), 4096) : bytes.size());
    bytes[at] = static_cast<char>(bytes[at] ^ static_cast<char>(1 + random.below(255)));
    put(folder_ / "books.h5", bytes);
    try {
      const Collected books = read();
      EXPECT_EQ(books.names, expected.names) << "byte " << at;
      EXPECT_EQ(books.sentences, expected.sentences) << "byte " << at;
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);
}

TEST_F(BooksFile, AFullDiskLeavesTheEarlierFile) {
  make();
  const std::string before = test::slurp(folder_ / "books.h5");
  std::string message;
  {
    const FileSizeLimit limit(4096);
    try {
      make();
    } catch (const Error& error) {
      message = error.what();
    }
  }
  EXPECT_NE(message.find("books.h5"), std::string::npos) << message;
  EXPECT_EQ(test::slurp(folder_ / "books.h5"), before);
  EXPECT_EQ(test::num_files(folder_), 2u);
}

TEST(Books, FoundInFoldersInOrder) {
  const TempFolder folder;
  for (const char* name : {"b.txt", "a.txt", "sub/c.txt", "d.pdf"}) put(folder / name, "Text.");
  EXPECT_EQ(find_books({folder.path()}),
            (std::vector<std::string>{folder / "a.txt", folder / "b.txt", folder / "sub/c.txt"}));
  EXPECT_EQ(find_books({folder / "d.pdf", folder / "a.txt"}),
            (std::vector<std::string>{folder / "d.pdf", folder / "a.txt"}));
  EXPECT_ERROR(find_books({folder / "none"}), Error, "none: no such file or folder");
  std::filesystem::create_directory(folder / "empty");
  EXPECT_ERROR(find_books({folder / "empty"}), Error, "empty: no .txt file");
  EXPECT_ERROR(find_books({}), Error, "no books");
  put(folder / "blank.txt", " \n\n");
  EXPECT_ERROR(
      load_books(folder / "blank.txt", shipped_tokenizer(), {.cache = folder.path(), .progress = {}, .notice = {}}),
      Error, "blank.txt: holds no text");
}

TEST(BookText, WideVocabulariesKeepTheirIds) {
  test::BookBuilder builder(200000);
  builder.begin_book("b");
  builder.add_sentence({1, 199999});
  EXPECT_ERROR(builder.add_sentence({200000}), Error, "token 200000");
  EXPECT_ERROR(builder.add_sentence({}), Error, "a sentence of 0 tokens");
  const auto books = builder.build();
  std::vector<std::int32_t> out;
  books->append_sentence(0, 10, out);
  EXPECT_EQ(out, (std::vector<std::int32_t>{1, 199999}));
  EXPECT_ERROR(books->append_sentence(1, 1, out), Error, "sentence 2 of 1");
  EXPECT_ERROR(books->sentence_at(2), Error, "token 2 of 2");
  EXPECT_ERROR(books->book_name(1), Error, "book 1 of 1");
}

}  // namespace
}  // namespace wt
