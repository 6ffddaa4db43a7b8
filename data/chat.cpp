#include "data/chat.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/text.h"
#include "core/utf8.h"

namespace wt {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// A JSON object of the folder; empty where the file is not there.
Json object_in(const fs::path& file) {
  if (!fs::exists(file)) return Json::object();
  Json json = parse_json(read_file(file.string()), file.string());
  WT_CHECK(json.is_object(), file.string(), ": not a JSON object");
  return json;
}

std::string text_of(const Json& parent, const char* key) {
  const auto value = parent.find(key);
  return value != parent.end() && value->is_string() ? value->get<std::string>() : "";
}

// chat_template: a text, or several by name, of which the one called default is meant; nullopt where there is none.
std::optional<std::string> template_in(const Json& json, const std::string& path) {
  const auto found = json.find("chat_template");
  if (found == json.end() || found->is_null()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  WT_CHECK(found->is_array(), path, ": chat_template is ", found->type_name(), ", expected a text or a list");
  for (const Json& entry : *found) {
    if (!entry.is_object() || text_of(entry, "name") != "default") continue;
    const auto text = entry.find("template");
    WT_CHECK(text != entry.end() && text->is_string(), path, ": the chat_template called default has no template, ",
             "expected a text");
    return text->get<std::string>();
  }
  throw Error(cat(path, ": chat_template has none called default"));
}

// "<s>", or {"content": "<s>", …}.
std::map<std::string, std::string> special_tokens_in(const std::vector<Json>& files) {
  std::map<std::string, std::string> tokens;
  for (const Json& json : files) {
    for (const char* key :
         {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
      const auto value = json.find(key);
      if (value == json.end()) continue;
      const std::string text = value->is_object() ? text_of(*value, "content") : text_of(json, key);
      if (!text.empty()) tokens.emplace(key, text);
    }
  }
  return tokens;
}

// Noncharacters, which no text means: one that none of these texts has.
char32_t unused_character(const std::vector<std::string_view>& texts) {
  for (char32_t c = 0xFDD0; c < 0xFDF0; ++c) {
    std::string bytes;
    append_utf8(bytes, c);
    const auto has = [&](std::string_view text) { return text.find(bytes) != std::string_view::npos; };
    if (std::none_of(texts.begin(), texts.end(), has)) return c;
  }
  throw Error("chat: the messages hold every one of the 32 characters U+FDD0 to U+FDEF, which stand for nothing");
}

// `mark` behind the first character of every one of the tokens.
std::string broken(const std::string& text, const std::vector<std::string>& tokens, const std::string& mark) {
  std::array<std::vector<std::string_view>, 256> by_byte;
  for (const std::string& token : tokens) by_byte[static_cast<unsigned char>(token.front())].push_back(token);
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = std::max<std::size_t>(utf8_length_at(text, i), 1);
    const auto& candidates = by_byte[static_cast<unsigned char>(text[i])];
    const bool begins = std::any_of(candidates.begin(), candidates.end(), [&](std::string_view token) {
      return std::string_view(text).substr(i).starts_with(token);
    });
    out.append(text, i, length);
    if (begins) out += mark;
    i += length;
  }
  return out;
}

}  // namespace

std::vector<ChatMessage> chat_with(const std::string& system, const std::string& question) {
  std::vector<ChatMessage> messages;
  if (!system.empty()) messages.push_back({"system", system});
  messages.push_back({"user", question});
  return messages;
}

ChatTemplate ChatTemplate::load(const std::string& folder) {
  const fs::path at(folder);
  const fs::path jinja_file = at / "chat_template.jinja", config_file = at / "tokenizer_config.json",
                 old_file = at / "chat_template.json";
  const Json config = object_in(config_file);
  auto tokens = special_tokens_in({config, object_in(at / "special_tokens_map.json")});
  if (fs::exists(jinja_file)) return {read_file(jinja_file.string()), jinja_file.string(), std::move(tokens)};
  if (const auto text = template_in(config, config_file.string())) {
    return {*text, config_file.string() + " chat_template", std::move(tokens)};
  }
  if (const auto text = template_in(object_in(old_file), old_file.string())) {
    return {*text, old_file.string() + " chat_template", std::move(tokens)};
  }
  throw UsageError(cat(folder, ": no chat template there (chat_template.jinja, or chat_template in ",
                       "tokenizer_config.json): add the model's, or write the prompt out without --chat"));
}

ChatTemplate::ChatTemplate(const std::string& jinja, const std::string& name,
                           std::map<std::string, std::string> special_tokens)
    : name_(name), template_(jinja::Template::parse(jinja, name)), special_tokens_(std::move(special_tokens)) {}

std::string ChatTemplate::render(const std::vector<ChatMessage>& messages, bool answer_follows, std::time_t now) const {
  jinja::Values list;
  for (const ChatMessage& message : messages) {
    list.push_back(jinja::Value::dict({{"role", message.role}, {"content", message.content}}));
  }
  jinja::Variables variables{{"messages", jinja::Value::list(std::move(list))},
                             {"tools", jinja::Value()},
                             {"documents", jinja::Value()},
                             {"add_generation_prompt", jinja::Value(answer_follows)}};
  for (const auto& [name, token] : special_tokens_) variables.emplace_back(name, token);
  return template_.render(variables, now);
}

std::vector<std::string> ChatTemplate::control_tokens(const Tokenizer& tokenizer) const {
  std::vector<std::string> tokens;
  for (const Tokenizer::Added& added : tokenizer.added_tokens()) {
    const bool written = !trimmed(added.text).empty() && template_.literals().find(added.text) != std::string::npos;
    if (!added.text.empty() && (added.special || written)) tokens.push_back(added.text);
  }
  return tokens;
}

ChatTemplate::Marked ChatTemplate::marked(std::vector<ChatMessage> messages, const Tokenizer& tokenizer) const {
  std::vector<std::string_view> texts{template_.literals()};
  for (const ChatMessage& message : messages) texts.emplace_back(message.content);
  Marked marked;
  marked.options.token_breaker = unused_character(texts);
  std::string mark;
  append_utf8(mark, marked.options.token_breaker);
  const std::vector<std::string> tokens = control_tokens(tokenizer);
  for (ChatMessage& message : messages) message.content = broken(message.content, tokens, mark);
  marked.text = render(messages);
  WT_CHECK(!marked.text.empty(), name_, ": writes nothing of a chat, expected at least what the user says");
  return marked;
}

std::vector<std::int32_t> ChatTemplate::encode(const std::vector<ChatMessage>& messages,
                                               const Tokenizer& tokenizer) const {
  const Marked chat = marked(messages, tokenizer);
  return tokenizer.encode(chat.text, chat.options);
}

TokenPieces ChatTemplate::pieces(const std::vector<ChatMessage>& messages, const Tokenizer& tokenizer) const {
  Marked chat = marked(messages, tokenizer);
  return encoded(tokenizer, chat.options, once(std::move(chat.text)));
}

std::optional<std::int32_t> ChatTemplate::stop_id(const Tokenizer& tokenizer) const {
  const std::string answer = "In the kitchen.";
  std::string text;
  try {
    text = render({{"user", "Where is Mary?"}, {"assistant", answer}}, /*answer_follows=*/false);
  } catch (const Error&) {  // what it makes of the chat at hand is said when that is rendered
    return std::nullopt;
  }
  const std::size_t said = text.rfind(answer);
  if (said == std::string::npos) return std::nullopt;
  std::size_t first = std::string::npos;
  std::string found;
  for (const std::string& token : control_tokens(tokenizer)) {
    const std::size_t at = text.find(token, said + answer.size());
    if (at == std::string::npos || at > first || (at == first && token.size() < found.size())) continue;
    first = at;
    found = token;
  }
  return found.empty() ? std::nullopt : tokenizer.id_of(found);
}

std::optional<std::int32_t> ChatTemplate::begin_id(const Tokenizer& tokenizer) const {
  const auto found = special_tokens_.find("bos_token");
  return found == special_tokens_.end() ? std::nullopt : tokenizer.id_of(found->second);
}

}  // namespace wt
