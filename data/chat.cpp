#include "data/chat.h"

#include <algorithm>
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

struct Part {
  std::string text;
  bool special = false;
};

bool has(const std::string& text, const char* word) {
  return text.find(word) != std::string::npos;
}

// White space as Python's strip() knows it.
bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

std::string trimmed(const std::string& text) {
  std::size_t begin = text.size(), end = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length_at(text, i), step = std::max<std::size_t>(length, 1);
    if (length == 0 || !is_space(utf8_at(text, i))) {
      begin = std::min(begin, i);
      end = i + step;
    }
    i += step;
  }
  return begin < end ? text.substr(begin, end - begin) : "";
}

// What a ChatML template says where no system message is given: the literal text between "<|im_start|>system\n" and
// "<|im_end|>". Jinja's expressions in between mean that it is the given message's text.
std::string default_system_of(const std::string& jinja) {
  const std::string end = "<|im_end|>";
  for (const std::string begin : {"<|im_start|>system\\n", "<|im_start|>system\n"}) {
    for (std::size_t at = jinja.find(begin); at != std::string::npos; at = jinja.find(begin, at + 1)) {
      const std::size_t from = at + begin.size(), to = jinja.find(end, from);
      if (to == std::string::npos) continue;
      const std::string text = jinja.substr(from, to - from);
      if (!text.empty() && text.find_first_of("'\"{}\\") == std::string::npos) return text;
    }
  }
  return "";
}

std::vector<Part> parts_of(const ChatTemplate& chat, std::vector<ChatMessage> messages) {
  for (const ChatMessage& message : messages) {
    if (message.role != "system" && message.role != "user" && message.role != "assistant") {
      throw UsageError(cat("chat: role '", message.role, "', expected system, user or assistant"));
    }
  }
  const bool has_system = !messages.empty() && messages.front().role == "system";
  std::vector<Part> parts;
  if (chat.format == ChatFormat::kChatML) {
    if (!has_system && !chat.default_system.empty()) {
      messages.insert(messages.begin(), {"system", chat.default_system});
    }
    for (const ChatMessage& message : messages) {
      parts.push_back({"<|im_start|>", true});
      parts.push_back({cat(message.role, "\n", message.content)});
      parts.push_back({"<|im_end|>", true});
      parts.push_back({"\n"});
    }
    parts.push_back({"<|im_start|>", true});
    parts.push_back({"assistant\n"});
    return parts;
  }
  const auto add_header = [&](const std::string& role) {
    parts.push_back({"<|start_header_id|>", true});
    parts.push_back({role});
    parts.push_back({"<|end_header_id|>", true});
  };
  parts.push_back({"<|begin_of_text|>", true});
  if (chat.format == ChatFormat::kLlama31) {
    if (!has_system) messages.insert(messages.begin(), {"system", ""});
    messages.front().content = trimmed(messages.front().content);
  }
  for (std::size_t i = 0; i < messages.size(); ++i) {
    add_header(messages[i].role);
    const bool dated = i == 0 && chat.format == ChatFormat::kLlama31;
    parts.push_back(
        {cat("\n\n", dated ? cat("Cutting Knowledge Date: December 2023\nToday Date: ", chat.today, "\n\n") : "",
             trimmed(messages[i].content))});
    parts.push_back({"<|eot_id|>", true});
  }
  add_header("assistant");
  parts.push_back({"\n\n"});
  return parts;
}

}  // namespace

ChatTemplate recognize_chat_template(const std::string& jinja, const std::string& name) {
  ChatTemplate chat;
  if (has(jinja, "<|start_header_id|>") && has(jinja, "<|end_header_id|>") && has(jinja, "<|eot_id|>")) {
    chat.format = has(jinja, "Cutting Knowledge Date: December 2023") ? ChatFormat::kLlama31 : ChatFormat::kLlama3;
    return chat;
  }
  if (has(jinja, "<|im_start|>") && has(jinja, "<|im_end|>")) {
    WT_CHECK(!has(jinja, "bos_token"), name, ": its chat template is ChatML with a bos_token, which is not supported");
    chat.default_system = default_system_of(jinja);
    return chat;
  }
  throw Error(cat(name,
                  ": its chat template is neither Llama 3's (<|start_header_id|>) nor ChatML (<|im_start|>); "
                  "write the prompt out and leave out --chat"));
}

ChatTemplate find_chat_template(const std::string& folder, const Tokenizer& tokenizer) {
  const fs::path at(folder);
  if (fs::exists(at / "chat_template.jinja")) {
    const std::string path = (at / "chat_template.jinja").string();
    return recognize_chat_template(read_file(path), path);
  }
  if (fs::exists(at / "tokenizer_config.json")) {
    const std::string path = (at / "tokenizer_config.json").string();
    const nlohmann::json json = parse_json(read_file(path), path);
    WT_CHECK(json.is_object(), path, ": not a JSON object");
    const auto text_of = [](const nlohmann::json& entry, const char* key) {
      const auto value = entry.find(key);
      return value != entry.end() && value->is_string() ? value->get<std::string>() : std::string();
    };
    const auto found = json.find("chat_template");
    if (found != json.end() && found->is_string()) return recognize_chat_template(found->get<std::string>(), path);
    // Several templates by name, of which the one called default is meant.
    if (found != json.end() && found->is_array()) {
      for (const auto& entry : *found) {
        if (entry.is_object() && text_of(entry, "name") == "default") {
          return recognize_chat_template(text_of(entry, "template"), path);
        }
      }
      throw Error(cat(path, ": chat_template has none called default"));
    }
  }
  ChatTemplate chat;
  if (tokenizer.id_of("<|start_header_id|>") && tokenizer.id_of("<|eot_id|>")) {
    chat.format = ChatFormat::kLlama3;
    return chat;
  }
  if (tokenizer.id_of("<|im_start|>") && tokenizer.id_of("<|im_end|>")) return chat;
  throw Error(cat(folder, ": no chat template, and the tokenizer has neither Llama 3's special tokens nor ChatML's"));
}

std::string render_chat(const ChatTemplate& chat, const std::vector<ChatMessage>& messages) {
  std::string out;
  for (const Part& part : parts_of(chat, messages)) out += part.text;
  return out;
}

std::vector<std::int32_t> encode_chat(const ChatTemplate& chat, const std::vector<ChatMessage>& messages,
                                      const Tokenizer& tokenizer) {
  std::vector<std::int32_t> ids;
  for (const Part& part : parts_of(chat, messages)) {
    if (part.special) {
      ids.push_back(tokenizer.require_id(part.text));
    } else {
      const auto text = tokenizer.encode(part.text, {.match_added_tokens = false});
      ids.insert(ids.end(), text.begin(), text.end());
    }
  }
  return ids;
}

std::int32_t chat_stop_id(const ChatTemplate& chat, const Tokenizer& tokenizer) {
  return tokenizer.require_id(chat.format == ChatFormat::kChatML ? "<|im_end|>" : "<|eot_id|>");
}

}  // namespace wt
