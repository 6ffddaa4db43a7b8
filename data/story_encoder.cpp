#include "data/story_encoder.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"

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

std::optional<std::int32_t> settings_end_token(const Tokenizer& tokenizer) {
  if (tokenizer.files().empty()) return std::nullopt;
  const std::filesystem::path folder = std::filesystem::path(tokenizer.files().front()).parent_path();
  for (const char* file : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const std::string path = (folder / file).string();
    if (!std::filesystem::exists(path)) continue;
    const nlohmann::json json = parse_json(read_file(path), path);
    if (!json.is_object() || !json.contains("eos_token")) continue;
    const nlohmann::json& token = json["eos_token"];  // "</s>", or {"content": "</s>", ...}
    const nlohmann::json& text = token.is_object() && token.contains("content") ? token["content"] : token;
    if (!text.is_string()) continue;
    if (const auto id = tokenizer.id_of(text.get<std::string>())) return id;
  }
  return std::nullopt;
}

std::int32_t find_end_token(const Tokenizer& tokenizer) {
  if (const auto id = settings_end_token(tokenizer)) return *id;
  for (const char* token : {"<|endoftext|>", "<|end_of_text|>", "</s>"}) {
    if (const auto id = tokenizer.id_of(token)) return *id;
  }
  throw Error(
      cat(tokenizer.files().empty() ? "the tokenizer" : tokenizer.files().front(),
          ": which token ends a text? It has no <|endoftext|>, <|end_of_text|> or </s>: say it by eos_token_id in the "
          "model's config.json, by model.eos_id in a training's configuration, or by \"eos_token\" in a "
          "tokenizer_config.json beside the tokenizer"));
}

}  // namespace wt
