// Reads tokenizer.json.
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/utf8.h"
#include "data/split_pattern.h"
#include "data/token_lists.h"
#include "data/tokenizer_parts.h"
#include "data/tokenizer_values.h"

namespace wt {
namespace {

using Json = nlohmann::json;

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
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json& value = value_at(model, key);
    if (!absent_or_empty(value)) unsupported(name, cat(key, " ", value.dump()), "none");
  }
  // A byte-level vocabulary has all 256 bytes, so nothing is unknown there and these two do not matter.
  parts.byte_fallback = flag_at(model, "byte_fallback", false, name);
  parts.fuse_unk = flag_at(model, "fuse_unk", false, name);
  if (!absent_or_empty(value_at(model, "unk_token"))) parts.unk_token = text_at(model, "unk_token", name);
  parts.ignore_merges = flag_at(model, "ignore_merges", false, name);
  if (!parts.lists.has_vocab) unsupported(name, "a vocabulary that is no object", "{token: id, ...}");
  if (!parts.lists.has_merges) {
    throw Error(cat(name, ": \"merges\" is ", value_at(model, "merges").type_name(), ", expected a list"));
  }
}

void read_added_tokens(const Json& tokens, TokenizerParts& parts) {
  if (tokens.is_null()) return;
  if (!tokens.is_array())
    throw Error(cat(parts.name, ": \"added_tokens\" is ", tokens.type_name(), ", expected a list"));
  for (const Json& token : tokens) {
    parts.added_tokens.push_back(read_added_token(token, value_at(token, "id"), parts.name));
  }
}

// The steps of a sequence under `key`, or the one step there is.
std::vector<const Json*> steps_of(const Json& step, const char* key, const std::string& name) {
  if (step.is_null()) return {};
  if (!step.is_object()) throw Error(cat(name, ": a step is ", step.dump(), ", expected an object"));
  if (value_at(step, "type") != "Sequence") return {&step};
  const Json& list = value_at(step, key);
  if (!list.is_array()) throw Error(cat(name, ": \"", key, "\" is ", list.type_name(), ", expected a list"));
  std::vector<const Json*> steps;
  for (const Json& inner : list) {
    for (const Json* one : steps_of(inner, key, name)) steps.push_back(one);
  }
  return steps;
}

// "a" of {"pattern": {"String": "a"}}.
std::string string_pattern(const Json& step, const std::string& name) {
  const Json& pattern = object_at(step, "pattern", name);
  if (pattern.size() != 1 || absent_or_empty(value_at(pattern, "String"))) {
    unsupported(name, cat("Replace pattern ", pattern.dump()), "{\"String\": ...}");
  }
  return text_at(pattern, "String", name);
}

void read_normalizer(const Json& normalizer, TokenizerParts& parts) {
  for (const Json* step : steps_of(normalizer, "normalizers", parts.name)) {
    const Json& type = value_at(*step, "type");
    if (type == "Prepend") {
      check_keys(*step, {"type", "prepend"}, "Prepend", parts.name);
      parts.normalizer.push_back({TextStep::Kind::kPrepend, "", text_at(*step, "prepend", parts.name)});
    } else if (type == "Replace") {
      check_keys(*step, {"type", "pattern", "content"}, "Replace", parts.name);
      parts.normalizer.push_back(
          {TextStep::Kind::kReplace, string_pattern(*step, parts.name), text_at(*step, "content", parts.name)});
    } else {
      unsupported(parts.name, cat("normalizer ", type.dump()), "Prepend and Replace, or none");
    }
  }
}

void read_byte_level(const Json& step, TokenizerParts& parts) {
  check_keys(step, {"type", "add_prefix_space", "trim_offsets", "use_regex"}, "ByteLevel", parts.name);
  parts.add_prefix_space = flag_at(step, "add_prefix_space", true, parts.name);
  if (parts.add_prefix_space && !parts.split_patterns.empty()) {
    unsupported(parts.name, "add_prefix_space after Split or Digits", "false");
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

// Empty, such a text would be found everywhere and for ever.
std::string one_character_at(const Json& step, const char* key, const std::string& name) {
  std::string text = text_at(step, key, name);
  if (text.empty() || utf8_length_at(text, 0) != text.size()) {
    throw Error(cat(name, ": \"", key, "\" is \"", text, "\", expected one character"));
  }
  return text;
}

// Metaspace's mark and whether it stands before a text: "always", "first" or "never".
std::pair<std::string, std::string> read_mark(const Json& step, const std::string& name) {
  check_keys(step, {"type", "replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"}, "Metaspace",
             name);
  const std::string scheme = absent_or_empty(value_at(step, "prepend_scheme"))
                                 ? (flag_at(step, "add_prefix_space", true, name) ? "always" : "never")
                                 : text_at(step, "prepend_scheme", name);
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    unsupported(name, cat("prepend_scheme ", scheme), "always, first or never");
  }
  return {one_character_at(step, "replacement", name), scheme};
}

void read_metaspace(const Json& step, TokenizerParts& parts) {
  const auto [mark, scheme] = read_mark(step, parts.name);
  if (!parts.split_patterns.empty()) unsupported(parts.name, "Metaspace after Split or Digits", "Metaspace first");
  parts.before_split.push_back({TextStep::Kind::kReplace, " ", mark});
  if (scheme == "always") parts.before_split.push_back({TextStep::Kind::kPrefix, "", mark});
  if (scheme == "first") parts.before_split.push_back({TextStep::Kind::kPrefixFirst, "", mark});
  if (!flag_at(step, "split", true, parts.name)) return;
  // A piece is a mark and what follows it.
  const bool is_operator = std::string_view("\\^$.|?*+()[]{}-&").find(mark.front()) != std::string_view::npos;
  const std::string spelled = is_operator ? "\\" + mark : mark;
  parts.split_patterns.push_back(cat(spelled, "[^", spelled, "]*|[^", spelled, "]+"));
}

void read_pre_tokenizer(const Json& step, TokenizerParts& parts) {
  const std::string expected = "Split (Regex, Isolated) and Digits, then ByteLevel or Metaspace";
  parts.byte_level = false;
  for (const Json* inner : steps_of(step, "pretokenizers", parts.name)) {
    const Json& type = value_at(*inner, "type");
    if (parts.byte_level) unsupported(parts.name, cat("pre_tokenizer ", type.dump(), " after ByteLevel"), expected);
    if (type == "ByteLevel") {
      read_byte_level(*inner, parts);
      parts.byte_level = true;
    } else if (type == "Split") {
      read_split(*inner, parts);
    } else if (type == "Digits") {
      check_keys(*inner, {"type", "individual_digits"}, "Digits", parts.name);
      const bool individual = flag_at(*inner, "individual_digits", false, parts.name);
      parts.split_patterns.push_back(individual ? "\\p{N}" : "\\p{N}+");
    } else if (type == "Metaspace") {
      read_metaspace(*inner, parts);
    } else {
      unsupported(parts.name, cat("pre_tokenizer ", type.dump()), expected);
    }
  }
  if (!parts.byte_level) return;
  if (!parts.before_split.empty()) unsupported(parts.name, "Metaspace before ByteLevel", expected);
  if (!parts.normalizer.empty()) unsupported(parts.name, "a normalizer of a byte-level vocabulary", "none");
  if (parts.byte_fallback) unsupported(parts.name, "byte_fallback of a byte-level vocabulary", "false");
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

void read_decoder(const Json& decoder, TokenizerParts& parts) {
  Decoding& decoding = parts.decoding;
  const std::string expected = parts.byte_level ? "ByteLevel" : "Replace, ByteFallback, Fuse and Strip, or Metaspace";
  decoding.byte_level = parts.byte_level;
  const std::vector<const Json*> steps = steps_of(decoder, "decoders", parts.name);
  if (steps.empty() && !parts.byte_level) unsupported(parts.name, "no decoder", expected);
  bool fused = false;
  for (const Json* step : steps) {
    const Json& type = value_at(*step, "type");
    const bool known = parts.byte_level ? type == "ByteLevel"
                                        : type == "Replace" || type == "ByteFallback" || type == "Fuse" ||
                                              type == "Strip" || type == "Metaspace";
    if (!known) unsupported(parts.name, cat("decoder ", type.dump()), expected);
    if (type == "Replace" && !fused) {
      decoding.replacements.emplace_back(string_pattern(*step, parts.name), text_at(*step, "content", parts.name));
    } else if (type == "ByteFallback" && !fused) {
      decoding.byte_tokens = true;
    } else if (type == "Metaspace" && !fused) {
      const auto [mark, scheme] = read_mark(*step, parts.name);
      decoding.replacements.emplace_back(mark, " ");
      if (scheme != "never") decoding.first_drops = mark;
    } else if (type == "Fuse") {
      fused = true;
    } else if (type == "Strip" && fused) {
      decoding.strip = one_character_at(*step, "content", parts.name);
      decoding.strip_start = token_id(value_at(*step, "start"), "Strip", parts.name);
      decoding.strip_stop = token_id(value_at(*step, "stop"), "Strip", parts.name);
    } else if (!parts.byte_level) {
      unsupported(parts.name, cat("decoder ", type.dump(), fused ? " after Fuse" : " before Fuse"), expected);
    }
  }
}

}  // namespace

TokenizerParts parse_tokenizer_json(std::string_view text, const std::string& name) {
  TokenizerParts parts;
  parts.name = name;
  const Json root = parse_tokenizer_tree(text, name, parts.lists);
  if (!root.is_object()) throw Error(cat(name, ": ", root.type_name(), ", expected the object of a tokenizer.json"));
  const Json& model = object_at(root, "model", name);
  check_keys(root,
             {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor",
              "decoder", "model"},
             "the file", name);
  // "truncation" and "padding" shape the batches of Hugging Face's library: they cut or fill its results to a length
  // that a training script once set. Here texts have the length they have, so the two are not looked at.
  read_model(model, parts);
  read_added_tokens(value_at(root, "added_tokens"), parts);
  read_normalizer(value_at(root, "normalizer"), parts);
  read_pre_tokenizer(value_at(root, "pre_tokenizer"), parts);
  read_post_processor(value_at(root, "post_processor"), parts);
  read_decoder(value_at(root, "decoder"), parts);
  return parts;
}

}  // namespace wt
