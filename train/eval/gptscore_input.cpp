#include "train/eval/gptscore_input.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/json_object.h"
#include "core/text.h"
#include "train/yaml.h"

namespace wt {
namespace {

using Json = nlohmann::json;

constexpr const char* kDefinitions = "asp_definition";

ScoreLine parse_line(std::string_view text, const std::string& name, std::int64_t number, const std::string& system) {
  ScoreLine line;
  line.place = cat(name, ":", number);
  const Json json = parse_json(text, line.place);
  const JsonObject object(json, line.place);
  for (const char* key : {"hypothesis", "reference"}) {
    if (json.contains(key)) continue;
    const std::string near = nearest(key, object.keys());
    throw Error(near.empty() ? cat(line.place, ": no \"", key, "\" in it")
                             : cat(line.place, ": ", near, ": unknown key, did you mean ", key, "?"));
  }
  const bool has_number = object.has("id") && json["id"].is_number_integer();
  line.id = has_number ? json["id"].dump() : object.text("id", cat(number));
  line.system = object.text("system", system);
  if (line.system.empty()) line.system = system;
  line.source = object.text("source", "");
  line.instruction = object.text("instruction", "");
  line.hypothesis = object.text("hypothesis");
  if (json["reference"].is_array()) {
    line.references = object.texts("reference");
  } else {
    line.references = {object.text("reference")};
  }
  return line;
}

std::vector<Aspect> aspects_of_json(const std::string& text, const std::string& name) {
  using Ordered = nlohmann::ordered_json;
  const Ordered root = parse_ordered_json(text, name);
  const bool is_inside = root.is_object() && root.contains(kDefinitions);
  const Ordered& map = is_inside ? root[kDefinitions] : root;
  if (!map.is_object()) throw Error(cat(name, ": expected an object of aspects and their sentences"));
  std::vector<Aspect> aspects;
  for (const auto& [key, sentence] : map.items()) {
    if (!sentence.is_string()) throw Error(cat(name, ": ", key, ": expected a sentence in quotes"));
    aspects.push_back({key, sentence.get<std::string>()});
  }
  return aspects;
}

std::vector<Aspect> aspects_of_yaml(const std::string& text, const std::string& name) {
  const YamlNode root = parse_yaml(text, name);
  const YamlNode* inside = root.kind == YamlNode::Kind::kMap ? root.find(kDefinitions) : nullptr;
  const YamlNode& map = inside != nullptr ? *inside : root;
  if (map.kind != YamlNode::Kind::kMap) {
    throw UsageError(cat(map.where, ": is ", map.describe(), ", expected aspects and their sentences"));
  }
  std::vector<Aspect> aspects;
  for (const YamlField& field : map.fields) {
    if (field.node.kind != YamlNode::Kind::kScalar) {
      throw UsageError(cat(field.node.where, ": ", field.name, " is ", field.node.describe(), ", expected a sentence"));
    }
    aspects.push_back({field.name, field.node.text});
  }
  return aspects;
}

}  // namespace

std::vector<ScoreLine> parse_score_lines(std::string_view text, const std::string& name, const std::string& system) {
  std::vector<ScoreLine> lines;
  each_line(text, [&](std::string_view line, std::int64_t number) {
    lines.push_back(parse_line(line, name, number, system));
  });
  if (lines.empty()) throw Error(cat(name, ": no lines in it, expected {\"hypothesis\": …, \"reference\": …} on each"));
  return lines;
}

std::vector<ScoreLine> read_score_lines(const std::string& path, const std::string& system) {
  return parse_score_lines(read_file(path), path, system);
}

std::vector<Aspect> parse_aspects(const std::string& text, const std::string& name) {
  std::vector<Aspect> aspects = name.ends_with(".json") ? aspects_of_json(text, name) : aspects_of_yaml(text, name);
  if (aspects.empty()) throw UsageError(cat(name, ": no aspects in it, expected names and their sentences"));
  for (const Aspect& aspect : aspects) {
    if (trimmed(aspect.name).empty()) throw UsageError(cat(name, ": an aspect has no name"));
  }
  return aspects;
}

std::vector<Aspect> read_aspects(const std::string& path) {
  return parse_aspects(read_file(path), path);
}

}  // namespace wt
