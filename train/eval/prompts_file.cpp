#include "train/eval/prompts_file.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/text.h"

namespace wt {
namespace {

using Json = nlohmann::ordered_json;

PromptLine parse_line(std::string_view text, const std::string& place) {
  const auto wrong = [&](const auto&... what) { return Error(cat(place, ": ", what...)); };
  const Json json = [&] {
    try {
      return parse_ordered_json(text, place);
    } catch (const Error& error) {
      throw Error(cat(error.what(), ", expected a string or {\"prompt\": \"…\"} on each line"));
    }
  }();
  PromptLine line{{}, "{}"};
  if (json.is_string()) {
    line.prompt = json.get<std::string>();
  } else {
    if (!json.is_object() || !json.contains("prompt") || !json["prompt"].is_string()) {
      throw wrong("expected a JSON string or an object with the string \"prompt\"");
    }
    for (const char* key : {"text", "tokens", "finish"}) {
      if (json.contains(key)) throw wrong("key \"", key, "\" is one of the result's, call it otherwise");
    }
    line.prompt = json["prompt"].get<std::string>();
    Json rest = json;
    rest.erase("prompt");
    line.rest = rest.dump();
  }
  if (line.prompt.empty()) throw wrong("the prompt is empty");
  return line;
}

}  // namespace

std::vector<PromptLine> read_prompts_file(const std::string& path) {
  const std::string text = read_file(path);
  std::vector<PromptLine> lines;
  each_line(text, [&](std::string_view line, std::int64_t number) {
    lines.push_back(parse_line(line, cat(path, ":", number)));
  });
  if (lines.empty()) throw Error(cat(path, ": no prompts in it, expected a JSON string on each line"));
  return lines;
}

std::string result_line(const PromptLine& line, const std::string& text, std::int64_t tokens,
                        const std::string& finish) {
  Json out = {{"prompt", line.prompt}};
  const Json rest = Json::parse(line.rest);
  for (const auto& [key, value] : rest.items()) out[key] = value;
  out["text"] = text;
  out["tokens"] = tokens;
  out["finish"] = finish;
  return out.dump() + "\n";
}

}  // namespace wt
