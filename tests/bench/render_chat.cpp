// Renders chat templates for compare_chat_templates.py: each line of standard input is {"template", "variables",
// "now"}, each line of standard output {"text"} or {"error"}.
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "core/json.h"
#include "data/jinja/json.h"
#include "data/jinja/template.h"

int main() {
  using namespace wt;
  for (std::string line; std::getline(std::cin, line);) {
    nlohmann::ordered_json answer;
    try {
      const nlohmann::ordered_json request = parse_ordered_json(line, "request");
      const jinja::Value variables = jinja::from_json(request.at("variables"));
      const auto chat = jinja::Template::parse(request.at("template").get<std::string>(), "template");
      answer["text"] = chat.render(jinja::variables_of(variables), request.at("now").get<std::time_t>());
    } catch (const std::exception& error) {
      answer["error"] = error.what();
    }
    std::cout << answer.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace) << std::endl;
  }
}
