#include "data/story_encoder.h"

#include "core/error.h"

namespace wt {
namespace {

std::string in_prose(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(' ');
  if (begin == std::string::npos) return " ";
  return cat(" ", text.substr(begin, text.find_last_not_of(' ') - begin + 1));
}

}  // namespace

std::vector<std::int32_t> StoryEncoder::fact(const std::string& text) const {
  return tokenizer_.encode_plain(cat(" ", text));
}

EncodedQuestion StoryEncoder::question(const std::string& question, const std::string& answer) const {
  const bool prose = style_ == QuestionStyle::kProse;
  EncodedQuestion out;
  out.tokens = tokenizer_.encode_plain(prose ? in_prose(question) : question);
  out.tokens.push_back(separator_id_);
  out.prompt_size = static_cast<std::int64_t>(out.tokens.size());
  const std::vector<std::int32_t> answer_tokens = tokenizer_.encode_plain(prose ? in_prose(answer) : answer);
  out.tokens.insert(out.tokens.end(), answer_tokens.begin(), answer_tokens.end());
  out.tokens.push_back(end_id_);
  return out;
}

std::int64_t StoryEncoder::size(const BabiSample& sample) const {
  std::size_t tokens = question(sample.question, sample.answer).tokens.size();
  for (const std::string& text : sample.facts) tokens += fact(text).size();
  return static_cast<std::int64_t>(tokens);
}

std::string StoryEncoder::fingerprint() const {
  return cat(tokenizer_.fingerprint(), style_ == QuestionStyle::kProse ? " prose" : " published");
}

std::int32_t find_separator(const Tokenizer& tokenizer, const std::string& wanted) {
  if (!wanted.empty()) return tokenizer.require_id(wanted);
  if (const auto id = tokenizer.id_of("<|gen|>")) return *id;
  return tokenizer.encode_plain("GEN").front();
}

std::int32_t find_end_token(const Tokenizer& tokenizer, const std::string& wanted) {
  if (!wanted.empty()) return tokenizer.require_id(wanted);
  for (const char* token : {"<|endoftext|>", "<|end_of_text|>", "</s>"}) {
    if (const auto id = tokenizer.id_of(token)) return *id;
  }
  throw Error("the tokenizer has no <|endoftext|>, <|end_of_text|> or </s>: set model.eos_id to its end-of-text token");
}

}  // namespace wt
