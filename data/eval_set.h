// Evaluation sets: samples with their questions and answers, as a file.
//
// JSON: a list of {"input", "question", "target"}, the format BABILong's sets are published in. HDF5: the same, with
// the prompt's tokens instead of the text.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/babilong.h"
#include "data/eval_json.h"
#include "data/pieces.h"

namespace wt {

class Hdf5Reader;

struct EvalSample {
  std::string input;  // context as text; empty in HDF5
  std::string question;
  std::string target;
  std::vector<std::int32_t> prompt;  // context, question, separator; empty in JSON
};

// "4k" -> 4000, "1M" -> 1000000, "0k" -> 0, "192" -> 192: tokens of the whole prompt, k = 1000 as in the published
// sets. Throws UsageError.
std::int64_t parse_length(std::string_view length);

// What a set is made of. Prompt (context, question, separator) and answer with its end-of-text have exactly `length`
// tokens together; 0 means facts without background. Of `babilong`, what concerns sizes and questions inside the
// context is overruled: an evaluation asks one question, at the end.
struct EvalSetConfig {
  BabilongConfig babilong;
  std::string length = "4k";
  std::int64_t num_samples = 100;
  Split split = Split::kTest;
  // The way the published sets were made, from bAbI's files: every question of the test file is a sample, in the file's
  // order. Facts and background have length - 300 tokens together (GPT-2's, so that is the tokenizer to use), the rest
  // is for question and prompt; facts and question are at most (length - 300) / 8 lines. At 0k every question is there,
  // with its facts alone. The published sets lack the last of these samples, but for qa1, qa2 at 1k and qa6 to qa10,
  // and so do these. num_samples 0 means all. (BABILong's data/create_tasks.py; the sizes of the 0k sets on its dataset
  // card are these to the byte, and questions and targets in its published results are these in this order.)
  bool released = false;
};

// The sampler behind a set, for evaluating without a file: its sample i is the set's sample i.
BabilongSampler eval_sampler(const EvalSetConfig& config, const Tokenizer& tokenizer,
                             std::shared_ptr<const BookText> books, std::uint64_t seed);

// Writes a set, one sample in memory at a time: HDF5 where `output` ends in .h5 or .hdf5, else JSON
// (`wavetape data babilong`). Temporary name, flush, rename. Text that a cut character would make invalid UTF-8 gets
// U+FFFD in its place. Returns the number of samples. Throws UsageError and Error.
std::int64_t build_eval_set(const EvalSetConfig& config, const Tokenizer& tokenizer,
                            std::shared_ptr<const BookText> books, std::uint64_t seed, const std::string& output,
                            const std::function<void(std::int64_t done, std::int64_t total)>& progress = {});

void write_eval_json(const std::string& path, std::span<const EvalSample> samples);

// A set of either kind, told apart by the first bytes. Questions and targets are in memory; contexts stay on the disk,
// however long they are, until one is asked for.
class EvalSet {
 public:
  // Checks the whole file, or its first `limit` samples (0: all). HDF5 sets must have been made with this tokenizer.
  // Throws Error with path and sample index: not a list, a missing, unknown or repeated key, a value that is no text,
  // an empty target, no sample at all, damaged offsets, ids that are no tokens.
  EvalSet(const std::string& path, const Tokenizer& tokenizer, std::int64_t limit = 0);

  std::int64_t size() const { return static_cast<std::int64_t>(entries_.size()); }
  // HDF5: there is a prompt, and no input.
  bool has_tokens() const { return hdf5_ != nullptr; }
  const std::string& question(std::int64_t i) const { return entry(i).question; }
  const std::string& target(std::int64_t i) const { return entry(i).target; }
  // Of the input or prompt in the file; a JSON text may have fewer when its escapes are read.
  std::int64_t bytes(std::int64_t i) const;

  // The input, or the prompt, from its beginning at every call of input() or prompt(); valid without the set. Throw
  // Error where the file has changed since it was opened.
  TextPieces input(std::int64_t i) const;
  TokenPieces prompt(std::int64_t i) const;
  // All of it.
  EvalSample sample(std::int64_t i) const;

 private:
  const EvalJsonEntry& entry(std::int64_t i) const { return entries_[static_cast<std::size_t>(i)]; }

  std::string path_;
  std::int32_t vocab_size_;
  std::vector<EvalJsonEntry> entries_;  // of HDF5: in tokens of the dataset instead of bytes of the file
  std::shared_ptr<const Hdf5Reader> hdf5_;
};

std::vector<EvalSample> read_eval_set(const std::string& path, const Tokenizer& tokenizer);

// The tokens a model is given for a sample: its own where it has them, else context, question and separator, tokenised
// as the sampler does it.
std::vector<std::int32_t> prompt_tokens(const EvalSample& sample, const Tokenizer& tokenizer,
                                        const BabilongConfig& config);
// The same in pieces.
TokenPieces prompt_pieces(const EvalSet& set, std::int64_t i, const Tokenizer& tokenizer, const BabilongConfig& config);

}  // namespace wt
