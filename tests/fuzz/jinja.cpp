#include "data/jinja/template.h"
#include "tests/fuzz/target.h"

// A chat template, and what it writes of a chat.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wt::jinja;
  return wt::fuzz::only_errors([&] {
    const auto message = [](const char* role, const char* content) {
      return Value::dict({{"role", role}, {"content", content}});
    };
    const Variables variables{
        {"messages", Value::list({message("system", "Be brief."), message("user", " Wo ist Mary?\n\xc3\xa4\xff"),
                                  message("assistant",
                                          "<think>Hm</think>K\xc3\xbc"
                                          "che.")})},
        {"tools", Value::list({Value::dict({{"name", "f"}, {"parameters", Value::dict({{"x", Value(1.5)}})}})})},
        {"bos_token", "<s>"},
        {"add_generation_prompt", true}};
    const Template chat = Template::parse(std::string(wt::fuzz::text_of(data, size)), "fuzz");
    chat.render(variables, 1772600000, {.work = 300'000});
  });
}
