#include "data/associative_retrieval.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/story_encoder.h"
#include "data/story_source.h"

namespace wt {
namespace {

constexpr int kTaskNumber = 21;  // of the random streams; bAbI's tasks have 1 to 20
constexpr std::string_view kMarks = ":,?";

// The options; throws UsageError where they cannot be.
const RetrievalOptions& checked(const RetrievalOptions& options) {
  check_retrieval(options, [](const std::string& name, const std::string& what) {
    throw UsageError(cat(kAssociativeRetrieval, ": ", name, ": ", what));
  });
  return options;
}

// The number's `length` digits, each a symbol.
std::string spelled(std::uint64_t number, std::int64_t length, const std::string& alphabet) {
  std::string text;
  for (std::int64_t i = 0; i < length; ++i, number /= alphabet.size()) text += alphabet[number % alphabet.size()];
  return text;
}

}  // namespace

std::uint64_t RetrievalOptions::num_keys() const {
  std::uint64_t count = 1;
  for (std::int64_t i = 0; i < key_length; ++i) {
    if (count > kMostKeys / key_alphabet.size()) return kMostKeys + 1;
    count *= key_alphabet.size();
  }
  return count;
}

std::string retrieval_tokenizer_json(const RetrievalOptions& options) {
  checked(options);
  nlohmann::ordered_json added = nlohmann::ordered_json::array();
  for (const char* token : {"<|endoftext|>", "<|gen|>", "<|pad|>"}) {
    added.push_back({{"id", added.size()},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  nlohmann::ordered_json vocab = nlohmann::ordered_json::object();
  for (const char c : cat(kMarks, options.key_alphabet, options.value_alphabet)) {
    const std::string symbol(1, c);
    if (!vocab.contains(symbol)) vocab[symbol] = added.size() + vocab.size();
  }
  // No symbol is ever merged with another: the byte-level pre-tokenizer has nothing to cut for.
  const nlohmann::ordered_json bytes{
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  const nlohmann::ordered_json json{{"version", "1.0"},
                                    {"truncation", nullptr},
                                    {"padding", nullptr},
                                    {"added_tokens", added},
                                    {"normalizer", nullptr},
                                    {"pre_tokenizer", bytes},
                                    {"post_processor", nullptr},
                                    {"decoder", bytes},
                                    {"model",
                                     {{"type", "BPE"},
                                      {"dropout", nullptr},
                                      {"unk_token", nullptr},
                                      {"continuing_subword_prefix", nullptr},
                                      {"end_of_word_suffix", nullptr},
                                      {"fuse_unk", false},
                                      {"byte_fallback", false},
                                      {"ignore_merges", false},
                                      {"vocab", vocab},
                                      {"merges", nlohmann::ordered_json::array()}}}};
  return json.dump(2) + "\n";
}

Tokenizer retrieval_tokenizer(const RetrievalOptions& options) {
  return Tokenizer::from_json(retrieval_tokenizer_json(options), std::string(kAssociativeRetrieval));
}

RetrievalSampler::RetrievalSampler(const RetrievalOptions& options, std::int64_t num_pairs, std::int64_t segment_size,
                                   std::uint64_t seed, Split split)
    : options_(checked(options)),
      num_pairs_(num_pairs),
      segment_size_(segment_size),
      seed_(seed),
      split_(split),
      tokenizer_(retrieval_tokenizer(options)),
      end_id_(find_end_token(tokenizer_)),
      separator_id_(find_separator(tokenizer_)),
      pad_id_(tokenizer_.require_id("<|pad|>")) {
  const auto fail = [](const std::string& name, const std::string& what) {
    throw UsageError(cat(kAssociativeRetrieval, ": ", name, ": ", what));
  };
  if (num_pairs < 1) fail("pairs", cat("is ", num_pairs, ", expected at least 1"));
  if (!options_.rewrite && static_cast<std::uint64_t>(num_pairs) > options_.num_keys()) {
    fail("key_length", cat(num_pairs, " pairs with different keys, but there are only ", options_.num_keys(),
                           " keys: make them longer, or set rewrite"));
  }
  const std::int64_t pairs = options_.pairs_per_segment * options_.pair_tokens();
  if (segment_size > 0 && pairs > segment_size) {
    fail("pairs_per_segment",
         cat(options_.pairs_per_segment, " pairs are ", pairs, " tokens, the model's segment has ", segment_size));
  }
  if (segment_size > 0 && options_.question_tokens() > segment_size) {
    fail("key_length", cat("question and answer are ", options_.question_tokens(), " tokens, the model's segment has ",
                           segment_size));
  }
}

std::vector<std::uint64_t> RetrievalSampler::draw_keys(std::uint64_t index, RandomStream& random) const {
  std::vector<std::uint64_t> keys;
  keys.reserve(static_cast<std::size_t>(num_pairs_));
  const std::uint64_t count = options_.num_keys();
  // Different keys are the beginning of a permutation of all keys, one for each sample.
  const std::uint64_t number = (static_cast<std::uint64_t>(split_) << 48) | (std::uint64_t{1} << 50) | index;
  for (std::int64_t i = 0; i < num_pairs_; ++i) {
    keys.push_back(options_.rewrite ? random.below(count)
                                    : permuted(seed_, number, static_cast<std::uint64_t>(i), count));
  }
  return keys;
}

RetrievalSample RetrievalSampler::sample(std::uint64_t index) const {
  RandomStream random = data_stream(seed_, DataPurpose::kSample, split_, kTaskNumber, index);
  const std::vector<std::uint64_t> keys = draw_keys(index, random);
  RetrievalSample out;
  const auto append = [&](const std::string& text) {
    const std::vector<std::int32_t> ids = tokenizer_.encode_plain(text);
    out.tokens.insert(out.tokens.end(), ids.begin(), ids.end());
  };
  std::map<std::uint64_t, std::string> value_of;  // the last one written
  for (std::int64_t i = 0; i < num_pairs_; ++i) {
    const std::uint64_t key = keys[static_cast<std::size_t>(i)];
    std::string value;
    for (std::int64_t j = 0; j < options_.value_length; ++j) {
      value += options_.value_alphabet[random.below(options_.value_alphabet.size())];
    }
    append(cat(spelled(key, options_.key_length, options_.key_alphabet), ":", value, ","));
    value_of[key] = std::move(value);
    if (segment_size_ > 0 && ((i + 1) % options_.pairs_per_segment == 0 || i + 1 == num_pairs_)) {
      const std::int64_t segments = i / options_.pairs_per_segment + 1;
      out.tokens.resize(static_cast<std::size_t>(segments * segment_size_), pad_id_);
    }
  }
  // Every key is asked for equally often, however many values it had.
  const auto asked = std::next(value_of.begin(), static_cast<std::ptrdiff_t>(random.below(value_of.size())));
  out.question = spelled(asked->first, options_.key_length, options_.key_alphabet);
  out.answer = asked->second;
  append(cat("?", out.question));
  out.tokens.push_back(separator_id_);
  out.prompt_size = static_cast<std::int64_t>(out.tokens.size());
  append(out.answer);
  out.tokens.push_back(end_id_);
  out.mask.assign(out.tokens.size(), 0);
  std::fill(out.mask.begin() + out.prompt_size - 1, out.mask.end() - 1, std::uint8_t{1});
  return out;
}

}  // namespace wt
