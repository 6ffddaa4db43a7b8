// Associative retrieval (Rodkin et al., arXiv 2407.04841): keys with values, a few pairs to a segment, then one of the
// keys, whose value is the answer. As text, with pairs of two symbols and one:
//
//   3f:a,07:2,…,?07<|gen|>2<|endoftext|>
//
// The loss is on the answer and its end-of-text alone. Every symbol is a token of a vocabulary that the options make.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/splits.h"
#include "data/tokenizer.h"

namespace wt {

inline constexpr std::string_view kAssociativeRetrieval = "associative_retrieval";

struct RetrievalOptions {
  std::int64_t key_length = 2;  // symbols
  std::int64_t value_length = 1;
  // The symbols, each once: printable ASCII but blank and `:,?`. The two may share symbols, which are one token then.
  std::string key_alphabet = "0123456789abcdef";
  std::string value_alphabet = "0123456789abcdef";
  // false: all keys of a sample differ. true: they are drawn independently, so that a key may come again with another
  // value, of which the last counts.
  bool rewrite = false;
  std::int64_t pairs_per_segment = 1;

  // Tokens of a pair with its marks, and of the question with its answer and end-of-text.
  std::int64_t pair_tokens() const { return key_length + value_length + 2; }
  std::int64_t question_tokens() const { return key_length + value_length + 3; }
  // How many keys there are; kMostKeys + 1 stands for all larger numbers.
  static constexpr std::uint64_t kMostKeys = std::uint64_t{1} << 60;
  std::uint64_t num_keys() const;
  // Share of right answers of one who names a value at random.
  double chance() const {
    return std::pow(static_cast<double>(value_alphabet.size()), -static_cast<double>(value_length));
  }
  bool operator==(const RetrievalOptions&) const = default;
};

// What is wrong with an option: calls `fail` with its name ("key_alphabet") and the fault.
template <class Fail>
void check_retrieval(const RetrievalOptions& options, const Fail& fail);

// The vocabulary: <|endoftext|> 0, <|gen|> 1, <|pad|> 2, the marks `:,?`, then the symbols in the alphabets' order. As
// the text of a tokenizer.json, which belongs beside a model trained on the task.
std::string retrieval_tokenizer_json(const RetrievalOptions& options);
Tokenizer retrieval_tokenizer(const RetrievalOptions& options);

struct RetrievalSample {
  std::vector<std::int32_t> tokens;
  std::vector<std::uint8_t> mask;  // mask[t] selects the label t + 1, as in BabilongSample
  std::int64_t prompt_size = 0;    // tokens up to and with <|gen|>
  std::string question, answer;    // the key, its value
};

// sample(i) is a pure function of (options, sizes, seed, split, i), and safe from several threads.
class RetrievalSampler {
 public:
  // With `segment_size` > 0 every pairs_per_segment pairs are filled up with <|pad|> to that many tokens, so that pairs
  // and question stand in segments of their own; with 0 they follow one another. Throws UsageError where options cannot
  // be, a segment is too small for its pairs or the question, or there are fewer keys than pairs.
  RetrievalSampler(const RetrievalOptions& options, std::int64_t num_pairs, std::int64_t segment_size,
                   std::uint64_t seed, Split split);

  // index < 2^46.
  RetrievalSample sample(std::uint64_t index) const;

  std::int64_t num_pairs() const { return num_pairs_; }
  const RetrievalOptions& options() const { return options_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  std::int32_t end_id() const { return end_id_; }

 private:
  std::vector<std::uint64_t> draw_keys(std::uint64_t index, RandomStream& random) const;

  RetrievalOptions options_;
  std::int64_t num_pairs_, segment_size_;
  std::uint64_t seed_;
  Split split_;
  Tokenizer tokenizer_;
  std::int32_t end_id_, separator_id_, pad_id_;
};

template <class Fail>
void check_retrieval(const RetrievalOptions& options, const Fail& fail) {
  const auto check_alphabet = [&](const char* name, const std::string& symbols) {
    if (symbols.size() < 2) fail(name, "has " + std::to_string(symbols.size()) + " symbols, expected at least 2");
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      const char c = symbols[i];
      if (c <= ' ' || c > '~' || c == ':' || c == ',' || c == '?') {
        fail(name, "'" + symbols + "': a symbol is a printable ASCII character other than blank and :,?");
      }
      if (symbols.find(c) != i) fail(name, "'" + symbols + "' has " + std::string(1, c) + " twice");
    }
  };
  check_alphabet("key_alphabet", options.key_alphabet);
  check_alphabet("value_alphabet", options.value_alphabet);
  if (options.key_length < 1) fail("key_length", "is below 1");
  if (options.num_keys() > RetrievalOptions::kMostKeys)
    fail("key_length", "makes more than 2^60 keys: make it smaller");
  if (options.value_length < 1) fail("value_length", "is below 1");
  if (options.pairs_per_segment < 1) fail("pairs_per_segment", "is below 1");
}

}  // namespace wt
