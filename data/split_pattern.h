// The regular expressions that cut a text into pieces before byte-pair encoding, run by PCRE2 (with JIT where the
// machine has one). Internal to the tokenizer.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace wt {

// GPT-2's pattern, which the ByteLevel pre-tokenizer uses, and Llama 3's.
extern const char* const kGpt2Pattern;
extern const char* const kLlama3Pattern;

class SplitPattern {
 public:
  // The pattern is in Oniguruma's syntax (data/oniguruma.h). Throws Error where it has no counterpart in PCRE2's or is
  // none at all, saying where in it; `name` stands for the file in errors.
  explicit SplitPattern(std::string pattern, const std::string& name = "");

  const std::string& pattern() const { return pattern_; }
  // Visits, in order, every match and every stretch of text between matches; together they are the whole text, which
  // must be valid UTF-8. Safe from several threads. A word of megabytes is one, too; Error, naming the place, where the
  // pattern takes more than 100 steps a byte or 4 GiB for it.
  void split(std::string_view text, const std::function<void(std::string_view piece)>& visit) const;

 private:
  std::string pattern_, name_;  // name_: with the file, for errors
  std::shared_ptr<const void> code_;
};

}  // namespace wt
