// Chat templates of two families, as fixed renderers: Llama 3's and ChatML. A model folder's Jinja template is only
// looked at to tell which one it is.
//   Llama 3:  <|begin_of_text|> then, for each message,
//             <|start_header_id|>ROLE<|end_header_id|> \n\n CONTENT (trimmed) <|eot_id|>
//   ChatML:   <|im_start|>ROLE \n CONTENT <|im_end|> \n
// and at the end the header of the assistant's answer. Llama 3.1 and 3.2 begin with a system message that states two
// dates, whether there is one or not. Sources: the chat_template of the published Llama 3, 3.1, SmolLM and Qwen models.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/tokenizer.h"

namespace wt {

enum class ChatFormat : std::uint8_t { kLlama3, kLlama31, kChatML };

struct ChatTemplate {
  ChatFormat format = ChatFormat::kChatML;
  std::string default_system;         // ChatML: where no system message is given; "" for none
  std::string today = "26 Jul 2024";  // Llama 3.1: the date its template states where none is given
};

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

// Which family a Jinja template is of; `name` stands for the file in errors. Throws Error where it is another one.
ChatTemplate recognize_chat_template(const std::string& jinja, const std::string& name);
// That of a model folder: its chat_template.jinja, or tokenizer_config.json's chat_template, or, where there is
// neither, what the tokenizer's special tokens say. Throws Error where that is another template or none.
ChatTemplate find_chat_template(const std::string& folder, const Tokenizer& tokenizer);

// The prompt for the assistant's next answer as text, for people.
std::string render_chat(const ChatTemplate& chat, const std::vector<ChatMessage>& messages);
// The same as ids. What the messages say stays text: a "<|eot_id|>" in it is no special token.
std::vector<std::int32_t> encode_chat(const ChatTemplate& chat, const std::vector<ChatMessage>& messages,
                                      const Tokenizer& tokenizer);
// The token that ends an answer.
std::int32_t chat_stop_id(const ChatTemplate& chat, const Tokenizer& tokenizer);

}  // namespace wt
