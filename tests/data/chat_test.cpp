#include "data/chat.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_folder.h"

namespace wt {
namespace {

using Messages = std::vector<ChatMessage>;

const std::string kTokenizers = WAVETAPE_SOURCE_DIR "/tests/fixtures/tokenizers/";

ChatTemplate of(ChatFormat format, const std::string& default_system = "") {
  ChatTemplate chat;
  chat.format = format;
  chat.default_system = default_system;
  return chat;
}

const Messages kShort{{"user", " Where is Mary?\n"}};
const Messages kLong{{"system", "Be brief. "}, {"user", "Hi"}, {"assistant", "Yes?"}, {"user", "Where?"}};

TEST(Chat, Llama3) {
  EXPECT_EQ(render_chat(of(ChatFormat::kLlama3), kShort),
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWhere is Mary?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_EQ(render_chat(of(ChatFormat::kLlama3), kLong),
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nYes?<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nWhere?<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
  // What Python's strip() takes away: U+00A0, U+3000, U+001C, but no U+200B.
  EXPECT_EQ(render_chat(of(ChatFormat::kLlama3), {{"user", "\u00a0\u3000\x1c\u200bx \u2003"}}),
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n\u200bx<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(Chat, Llama31StatesItsDates) {
  const std::string dates = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";
  EXPECT_EQ(render_chat(of(ChatFormat::kLlama31), kShort),
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n" + dates +
                "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWhere is Mary?<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_EQ(render_chat(of(ChatFormat::kLlama31), {kLong[0], kLong[1]}),
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n" + dates +
                "Be brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(Chat, ChatMl) {
  EXPECT_EQ(render_chat(of(ChatFormat::kChatML), kShort),
            "<|im_start|>user\n Where is Mary?\n<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render_chat(of(ChatFormat::kChatML, "Be kind."), kShort),
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n Where is Mary?\n<|im_end|>\n"
            "<|im_start|>assistant\n");
  EXPECT_EQ(render_chat(of(ChatFormat::kChatML, "Be kind."), {kLong[0], kLong[1]}),
            "<|im_start|>system\nBe brief. <|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_ERROR(render_chat(of(ChatFormat::kChatML), {{"tool", "x"}}), UsageError,
               "chat: role 'tool', expected system, user or assistant");
}

TEST(Chat, IdsAreThoseOfTheRenderedText) {
  const Tokenizer llama = Tokenizer::load(kTokenizers + "llama3.json");
  for (const ChatFormat format : {ChatFormat::kLlama3, ChatFormat::kLlama31}) {
    for (const Messages& messages : {kShort, kLong}) {
      EXPECT_EQ(encode_chat(of(format), messages, llama), llama.encode(render_chat(of(format), messages)));
    }
  }
  EXPECT_EQ(chat_stop_id(of(ChatFormat::kLlama31), llama), llama.require_id("<|eot_id|>"));
  const Tokenizer smollm = Tokenizer::load(kTokenizers + "smollm.json");
  for (const Messages& messages : {kShort, kLong}) {
    EXPECT_EQ(encode_chat(of(ChatFormat::kChatML, "x"), messages, smollm),
              smollm.encode(render_chat(of(ChatFormat::kChatML, "x"), messages)));
  }
  EXPECT_EQ(chat_stop_id(of(ChatFormat::kChatML), smollm), smollm.require_id("<|im_end|>"));
  // A message cannot end itself.
  const auto ids = encode_chat(of(ChatFormat::kChatML), {{"user", "<|im_end|>"}}, smollm);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), smollm.require_id("<|im_end|>")), 1);
  EXPECT_ERROR(encode_chat(of(ChatFormat::kLlama3), kShort, smollm), Error, "no token \"<|begin_of_text|>\"");
}

TEST(Chat, TemplatesAreToldApart) {
  EXPECT_EQ(
      recognize_chat_template("{{'<|start_header_id|>' + role + '<|end_header_id|>' + x + '<|eot_id|>'}}", "t").format,
      ChatFormat::kLlama3);
  EXPECT_EQ(
      recognize_chat_template("<|start_header_id|><|end_header_id|>{{ \"Cutting Knowledge Date: December 2023\\n\" }}"
                              "<|eot_id|>",
                              "t")
          .format,
      ChatFormat::kLlama31);
  const ChatTemplate plain = recognize_chat_template("{{'<|im_start|>' + m['role'] + '\\n' + '<|im_end|>'}}", "t");
  EXPECT_EQ(plain.format, ChatFormat::kChatML);
  EXPECT_EQ(plain.default_system, "");
  // The given system message stands in an expression, the default one as text.
  const ChatTemplate with_default = recognize_chat_template(
      "{% if tools %}{{ '<|im_start|>system\\n' + messages[0].content + '<|im_end|>' }}{% endif %}"
      "{{ '<|im_start|>system\\nYou are kind<|im_end|>\\n' }}",
      "t");
  EXPECT_EQ(with_default.default_system, "You are kind");
  EXPECT_ERROR(recognize_chat_template("{{ '<|user|>\\n' + content + eos_token }}", "zephyr.jinja"), Error,
               "zephyr.jinja: its chat template is neither Llama 3's");
  EXPECT_ERROR(recognize_chat_template("{{ bos_token + '<|im_start|><|im_end|>' }}", "t"), Error, "bos_token");
}

TEST(Chat, LooksIntoTheFolder) {
  const Tokenizer llama = Tokenizer::load(kTokenizers + "llama3.json");
  const Tokenizer gpt2 = Tokenizer::load(kTokenizers + "gpt2.json");
  const TempFolder folder;
  EXPECT_EQ(find_chat_template(folder.path(), llama).format, ChatFormat::kLlama3);
  EXPECT_EQ(find_chat_template(folder.path(), Tokenizer::load(kTokenizers + "smollm.json")).format,
            ChatFormat::kChatML);
  EXPECT_ERROR(find_chat_template(folder.path(), gpt2), Error, "no chat template, and the tokenizer has neither");
  write_file(folder / "tokenizer_config.json", R"({"chat_template": [{"name": "tool_use", "template": "x"},
    {"name": "default", "template": "<|im_start|> <|im_end|>"}]})");
  EXPECT_EQ(find_chat_template(folder.path(), llama).format, ChatFormat::kChatML);
  write_file(folder / "tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "x"}]})");
  EXPECT_ERROR(find_chat_template(folder.path(), llama), Error, "chat_template has none called default");
  write_file(folder / "tokenizer_config.json", R"({"chat_template": "[INST] {{ x }} [/INST]"})");
  EXPECT_ERROR(find_chat_template(folder.path(), llama), Error, "tokenizer_config.json: its chat template is neither");
  write_file(folder / "chat_template.jinja", "<|start_header_id|><|end_header_id|><|eot_id|>");
  EXPECT_EQ(find_chat_template(folder.path(), gpt2).format, ChatFormat::kLlama3);
}

}  // namespace
}  // namespace wt
