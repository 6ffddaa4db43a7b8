// Chats as a model was trained to read them: the messages go through the chat template that lies beside it, a Jinja
// program (data/jinja), and the text it writes becomes ids, its special tokens among them. Templates are given what
// transformers (5.24) gives them: messages, tools and documents (none), add_generation_prompt, and the special tokens
// by name.
#pragma once

#include <cstdint>
#include <ctime>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/jinja/template.h"
#include "data/pieces.h"
#include "data/tokenizer.h"

namespace wt {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

// A question to the assistant, behind a system message where that is not empty.
std::vector<ChatMessage> chat_with(const std::string& system, const std::string& question);

class ChatTemplate {
 public:
  // That of a model folder: chat_template.jinja, else tokenizer_config.json's chat_template (of several the one called
  // default), else chat_template.json's; bos_token, eos_token and the like from tokenizer_config.json, else from
  // special_tokens_map.json. Throws UsageError where there is no template, Error where it cannot be read.
  static ChatTemplate load(const std::string& folder);
  // `name` stands for the file in errors; `special_tokens`: {"bos_token": "<s>", …}.
  ChatTemplate(const std::string& jinja, const std::string& name, std::map<std::string, std::string> special_tokens);

  // The chat as text, up to where the assistant's next answer begins (or, without `answer_follows`, to the last
  // message's end). Throws Error with the template's name and line where it refuses the messages or goes wrong.
  std::string render(const std::vector<ChatMessage>& messages, bool answer_follows = true,
                     std::time_t now = std::time(nullptr)) const;

  // The same as ids, at least one: Error where the template writes nothing. What the messages say stays text: a
  // "<|eot_id|>" in it is no such token. (So are all special tokens, and those added tokens that the template itself
  // writes, unless they are one character long.)
  std::vector<std::int32_t> encode(const std::vector<ChatMessage>& messages, const Tokenizer& tokenizer) const;
  // The ids in pieces, for messages of many megabytes; the text is in memory.
  TokenPieces pieces(const std::vector<ChatMessage>& messages, const Tokenizer& tokenizer) const;

  // The token that ends an answer: the first such token that the template writes behind what an assistant said.
  std::optional<std::int32_t> stop_id(const Tokenizer& tokenizer) const;
  // bos_token's, which is written once where a chat is read in parts.
  std::optional<std::int32_t> begin_id(const Tokenizer& tokenizer) const;

 private:
  struct Marked {
    std::string text;
    EncodeOptions options;
  };
  Marked marked(std::vector<ChatMessage> messages, const Tokenizer& tokenizer) const;
  std::vector<std::string> control_tokens(const Tokenizer& tokenizer) const;

  std::string name_;
  jinja::Template template_;
  std::map<std::string, std::string> special_tokens_;
};

}  // namespace wt
