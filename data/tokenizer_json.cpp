// Reads tokenizer.json, and GPT-2's vocab.json with merges.txt.
#include <algorithm>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "data/split_pattern.h"
#include "data/tokenizer_parts.h"

namespace wt {
namespace {

using Json = nlohmann::json;

[[noreturn]] void unsupported(const std::string& name, const std::string& what, const std::string& supported) {
  throw Error(cat(name, ": ", what, " is not supported, expected ", supported));
}

Json parse_json(std::string_view text, const std::string& name) {
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    throw Error(cat(name, ": not valid JSON near byte ", error.byte));
  }
}

const Json& object_at(const Json& parent, const char* key, const std::string& name) {
  const auto found = parent.find(key);
  if (found == parent.end() || !found->is_object()) throw Error(cat(name, ": no object \"", key, "\""));
  return *found;
}

// A key that is not there counts as null.
const Json& value_at(const Json& parent, const char* key) {
  static const Json null;
  const auto found = parent.find(key);
  return found == parent.end() ? null : *found;
}

bool flag_at(const Json& parent, const char* key, bool fallback, const std::string& name) {
  const Json& value = value_at(parent, key);
  if (value.is_null()) return fallback;
  if (!value.is_boolean()) throw Error(cat(name, ": \"", key, "\" is ", value.type_name(), ", expected true or false"));
  return value.get<bool>();
}

std::string text_at(const Json& parent, const char* key, const std::string& name) {
  const Json& value = value_at(parent, key);
  if (!value.is_string()) throw Error(cat(name, ": \"", key, "\" is ", value.type_name(), ", expected a string"));
  return value.get<std::string>();
}

std::int32_t token_id(const Json& value, const std::string& token, const std::string& name) {
  if (!value.is_number_integer() || value.get<std::int64_t>() < 0 ||
      value.get<std::int64_t>() > std::numeric_limits<std::int32_t>::max()) {
    throw Error(cat(name, ": the id of token \"", token, "\" is ", value.dump(), ", expected a number from 0"));
  }
  return value.get<std::int32_t>();
}

// A key we do not know may change the ids, so it is an error rather than ignored.
void check_keys(const Json& object, std::initializer_list<const char*> known, const std::string& where,
                const std::string& name) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      throw Error(cat(name, ": ", where, " has a key \"", key, "\" that is not known"));
    }
  }
}

bool absent_or_empty(const Json& value) {
  return value.is_null() || (value.is_string() && value == "");
}

void read_vocab(const Json& vocab, TokenizerParts& parts) {
  if (!vocab.is_object()) unsupported(parts.name, "a vocabulary that is no object", "{token: id, ...}");
  parts.vocab.reserve(vocab.size());
  for (const auto& [token, id] : vocab.items()) parts.vocab.emplace_back(token, token_id(id, token, parts.name));
}

std::pair<std::string, std::string> split_merge(const std::string& text, const std::string& where) {
  const std::size_t blank = text.find(' ');
  if (blank == std::string::npos || blank == 0 || blank + 1 == text.size() ||
      text.find(' ', blank + 1) != std::string::npos) {
    throw Error(cat(where, ": merge \"", text, "\", expected two tokens with a blank between"));
  }
  return {text.substr(0, blank), text.substr(blank + 1)};
}

void read_model(const Json& model, TokenizerParts& parts) {
  const std::string& name = parts.name;
  const Json& type = value_at(model, "type");
  if (!type.is_null() && type != "BPE") unsupported(name, cat("model ", type.dump()), "\"BPE\"");
  check_keys(model,
             {"type", "vocab", "merges", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
              "fuse_unk", "byte_fallback", "ignore_merges"},
             "the model", name);
  const Json& dropout = value_at(model, "dropout");
  if (!dropout.is_null() && dropout != 0) unsupported(name, cat("dropout ", dropout.dump()), "null");
  for (const char* key : {"unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json& value = value_at(model, key);
    if (!absent_or_empty(value)) unsupported(name, cat(key, " ", value.dump()), "none (a byte-level vocabulary)");
  }
  if (flag_at(model, "byte_fallback", false, name)) {
    unsupported(name, "byte_fallback (SentencePiece's way)", "a byte-level vocabulary");
  }
  parts.ignore_merges = flag_at(model, "ignore_merges", false, name);
  read_vocab(value_at(model, "vocab"), parts);
  const Json& merges = value_at(model, "merges");
  if (!merges.is_array()) throw Error(cat(name, ": \"merges\" is ", merges.type_name(), ", expected a list"));
  parts.merges.reserve(merges.size());
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const Json& merge = merges[i];
    const std::string where = cat(name, ": merge ", i);
    if (merge.is_string()) {
      parts.merges.push_back(split_merge(merge.get_ref<const std::string&>(), where));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      parts.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else {
      throw Error(cat(where, " is ", merge.dump(), ", expected \"a b\" or [\"a\", \"b\"]"));
    }
  }
}

void read_added_tokens(const Json& tokens, TokenizerParts& parts) {
  if (tokens.is_null()) return;
  if (!tokens.is_array())
    throw Error(cat(parts.name, ": \"added_tokens\" is ", tokens.type_name(), ", expected a list"));
  for (const Json& token : tokens) {
    if (!token.is_object()) throw Error(cat(parts.name, ": an added token is ", token.dump(), ", expected an object"));
    check_keys(token, {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"}, "an added token",
               parts.name);
    AddedToken added;
    added.content = text_at(token, "content", parts.name);
    if (added.content.empty()) throw Error(cat(parts.name, ": an added token without content"));
    added.id = token_id(value_at(token, "id"), added.content, parts.name);
    for (const char* key : {"single_word", "lstrip", "rstrip"}) {
      if (flag_at(token, key, false, parts.name)) {
        unsupported(parts.name, cat(key, " of added token \"", added.content, "\""), "false");
      }
    }
    added.special = flag_at(token, "special", false, parts.name);
    added.normalized = flag_at(token, "normalized", !added.special, parts.name);
    parts.added_tokens.push_back(std::move(added));
  }
}

void read_byte_level(const Json& step, TokenizerParts& parts) {
  check_keys(step, {"type", "add_prefix_space", "trim_offsets", "use_regex"}, "ByteLevel", parts.name);
  parts.add_prefix_space = flag_at(step, "add_prefix_space", true, parts.name);
  if (parts.add_prefix_space && !parts.split_patterns.empty()) {
    unsupported(parts.name, "add_prefix_space after Split", "false");
  }
  if (flag_at(step, "use_regex", true, parts.name)) parts.split_patterns.push_back(kGpt2Pattern);
}

void read_split(const Json& step, TokenizerParts& parts) {
  check_keys(step, {"type", "pattern", "behavior", "invert"}, "Split", parts.name);
  const Json& pattern = object_at(step, "pattern", parts.name);
  if (pattern.size() != 1 || !value_at(pattern, "Regex").is_string()) {
    unsupported(parts.name, cat("Split pattern ", pattern.dump()), "{\"Regex\": ...}");
  }
  if (value_at(step, "behavior") != "Isolated") {
    unsupported(parts.name, cat("Split behavior ", value_at(step, "behavior").dump()), "\"Isolated\"");
  }
  if (flag_at(step, "invert", false, parts.name)) unsupported(parts.name, "Split with invert", "false");
  parts.split_patterns.push_back(pattern["Regex"].get<std::string>());
}

void read_pre_tokenizer(const Json& step, TokenizerParts& parts) {
  const std::string expected = "ByteLevel, or Split (Regex, Isolated) followed by ByteLevel";
  std::vector<const Json*> steps;
  if (value_at(step, "type") == "Sequence") {
    const Json& list = value_at(step, "pretokenizers");
    if (!list.is_array())
      throw Error(cat(parts.name, ": \"pretokenizers\" is ", list.type_name(), ", expected a list"));
    for (const Json& inner : list) steps.push_back(&inner);
  } else {
    steps.push_back(&step);
  }
  bool is_byte_level = false;
  for (const Json* inner : steps) {
    const Json& type = inner->is_object() ? value_at(*inner, "type") : *inner;
    if (is_byte_level) unsupported(parts.name, cat("pre_tokenizer ", type.dump(), " after ByteLevel"), expected);
    if (type == "ByteLevel") {
      read_byte_level(*inner, parts);
      is_byte_level = true;
    } else if (type == "Split") {
      read_split(*inner, parts);
    } else {
      unsupported(parts.name, cat("pre_tokenizer ", type.dump()), expected);
    }
  }
  if (!is_byte_level) unsupported(parts.name, "a pre_tokenizer without ByteLevel", expected);
}

void read_template(const Json& step, TokenizerParts& parts) {
  const Json& pieces = value_at(step, "single");
  const Json& special = value_at(step, "special_tokens");
  if (!pieces.is_array() || !special.is_object()) {
    throw Error(cat(parts.name, ": TemplateProcessing needs a list \"single\" and an object \"special_tokens\""));
  }
  bool seen_text = false;
  for (const Json& piece : pieces) {
    if (piece.is_object() && piece.contains("Sequence") && !seen_text) {
      seen_text = true;
      continue;
    }
    const Json& token = piece.is_object() ? value_at(piece, "SpecialToken") : piece;
    const Json& id = token.is_object() ? value_at(token, "id") : token;
    if (!id.is_string() || !special.contains(id.get<std::string>())) {
      throw Error(cat(parts.name, ": TemplateProcessing has a piece ", piece.dump(), " that is not known"));
    }
    const Json& entry = special.at(id.get<std::string>());
    const Json& ids = entry.is_object() ? value_at(entry, "ids") : entry;
    if (!ids.is_array()) throw Error(cat(parts.name, ": special token ", id.dump(), " has no list \"ids\""));
    std::vector<std::int32_t>& around = seen_text ? parts.ids_after : parts.ids_before;
    for (const Json& value : ids) around.push_back(token_id(value, id.get<std::string>(), parts.name));
  }
}

void read_post_processor(const Json& step, TokenizerParts& parts) {
  if (step.is_null()) return;
  const Json& type = step.is_object() ? value_at(step, "type") : step;
  if (type == "Sequence" && value_at(step, "processors").is_array()) {
    for (const Json& inner : value_at(step, "processors")) read_post_processor(inner, parts);
  } else if (type == "TemplateProcessing") {
    read_template(step, parts);
  } else if (type != "ByteLevel") {  // ByteLevel only trims offsets, which we do not have
    unsupported(parts.name, cat("post_processor ", type.dump()), "ByteLevel or TemplateProcessing");
  }
}

}  // namespace

TokenizerParts parse_tokenizer_json(std::string_view text, const std::string& name) {
  const Json root = parse_json(text, name);
  if (!root.is_object()) throw Error(cat(name, ": ", root.type_name(), ", expected the object of a tokenizer.json"));
  TokenizerParts parts;
  parts.name = name;
  const Json& model = object_at(root, "model", name);
  check_keys(root,
             {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor",
              "decoder", "model"},
             "the file", name);
  for (const char* key : {"truncation", "padding", "normalizer"}) {
    const Json& value = value_at(root, key);
    if (value.is_null()) continue;
    const Json& type = value.is_object() ? value_at(value, "type") : value;
    unsupported(name, cat(key, type.is_null() ? "" : " ", type.is_null() ? std::string() : type.dump()), "null");
  }
  read_model(model, parts);
  read_added_tokens(value_at(root, "added_tokens"), parts);
  read_pre_tokenizer(object_at(root, "pre_tokenizer", name), parts);
  read_post_processor(value_at(root, "post_processor"), parts);
  const Json& decoder = value_at(root, "decoder");
  if (!decoder.is_null() && !(decoder.is_object() && value_at(decoder, "type") == "ByteLevel")) {
    unsupported(name, cat("decoder ", decoder.is_object() ? value_at(decoder, "type").dump() : decoder.dump()),
                "ByteLevel");
  }
  return parts;
}

TokenizerParts read_vocab_and_merges(const std::string& vocab_path, const std::string& merges_path) {
  TokenizerParts parts;
  parts.name = vocab_path;
  parts.files = {vocab_path, merges_path};
  read_vocab(parse_json(read_file(vocab_path), vocab_path), parts);
  const std::string text = read_file(merges_path);
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    begin = end + 1;
    ++number;
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    parts.merges.push_back(split_merge(line, cat(merges_path, ":", number)));
  }
  for (const auto& [token, id] : parts.vocab) {
    if (token == "<|endoftext|>") parts.added_tokens.push_back({token, id, /*special=*/true, /*normalized=*/false});
  }
  parts.split_patterns.push_back(kGpt2Pattern);
  return parts;
}

}  // namespace wt
