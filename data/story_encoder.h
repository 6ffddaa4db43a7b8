// The tokens of facts, questions and answers inside a BABILong sample.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/babi/stories.h"
#include "data/tokenizer.h"

namespace wt {

// kProse: " Where is Mary?" and " office", as the words stand in running text. kPublished: "Where is Mary? " and
// "office", as the published code tokenises them. Facts and background always have one blank in front.
enum class QuestionStyle : std::uint8_t { kProse, kPublished };

// A question with all that follows it: separator, answer, end-of-text.
struct EncodedQuestion {
  std::vector<std::int32_t> tokens;
  std::int64_t prompt_size = 0;  // tokens up to and with the separator
};

class StoryEncoder {
 public:
  StoryEncoder(const Tokenizer& tokenizer, QuestionStyle style, std::int32_t separator_id, std::int32_t end_id)
      : tokenizer_(tokenizer), style_(style), separator_id_(separator_id), end_id_(end_id) {}

  std::vector<std::int32_t> fact(const std::string& text) const;
  EncodedQuestion question(const std::string& question, const std::string& answer) const;
  // Tokens of a sample without background: facts, question and what follows it.
  std::int64_t size(const BabiSample& sample) const;
  // Encoders with the same one give everything the same number of tokens.
  std::string fingerprint() const;

  std::int32_t separator_id() const { return separator_id_; }
  std::int32_t end_id() const { return end_id_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }

 private:
  Tokenizer tokenizer_;
  QuestionStyle style_;
  std::int32_t separator_id_;
  std::int32_t end_id_;
};

// The id between question and answer. `wanted` is a token as the tokenizer's file spells it; "" looks for <|gen|>, else
// the first token of "GEN". Throws Error.
std::int32_t find_separator(const Tokenizer& tokenizer, const std::string& wanted = {});

// The eos_token of the tokenizer_config.json, or else special_tokens_map.json, beside the tokenizer's file; nullopt
// where neither names a token that it has.
std::optional<std::int32_t> settings_end_token(const Tokenizer& tokenizer);
// That, or else <|endoftext|>, <|end_of_text|> or </s>. Throws Error where there is none of them.
std::int32_t find_end_token(const Tokenizer& tokenizer);

}  // namespace wt
