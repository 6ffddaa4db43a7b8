// Reads GPT-2's vocab.json and merges.txt, and what stands beside them: added_tokens.json, special_tokens_map.json and
// tokenizer_config.json, as transformers (5.24) takes them together.
#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "data/split_pattern.h"
#include "data/token_lists.h"
#include "data/tokenizer_parts.h"
#include "data/tokenizer_values.h"

namespace wt {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const char* const kEndOfText = "<|endoftext|>";  // GPT-2's begin, end and unknown token where no file says another

void read_merges(const std::string& path, TokenizerParts& parts) {
  const std::string text = read_file(path);
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = std::string_view(text).substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    begin = end + 1;
    ++number;
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    parts.lists.merges.push_back(parse_merge(line, cat(path, ":", number)));
  }
}

// One of the files beside the vocabulary; an empty object where it is not there.
struct Beside {
  Beside(const fs::path& folder, const char* file) : path((folder / file).string()), json(Json::object()) {
    if (!fs::exists(path)) return;
    json = parse_json(read_file(path), path);
    WT_CHECK(json.is_object(), path, ": not a JSON object");
  }
  std::string path;
  Json json;
};

class Folder {
 public:
  Folder(const fs::path& folder, TokenizerParts& parts)
      : parts_(parts),
        config_(folder, "tokenizer_config.json"),
        special_(folder, "special_tokens_map.json"),
        added_(folder, "added_tokens.json") {
    for (const auto& [token, id] : parts.lists.vocab) vocab_.emplace(token, id);
  }

  void read() {
    check_class();
    parts_.add_prefix_space = flag_at(config_.json, "add_prefix_space", false, config_.path);
    // What one file says of all added tokens counts alone.
    const Json& decoder = value_at(config_.json, "added_tokens_decoder");
    if (!absent_or_empty(decoder)) {
      special_.json = added_.json = Json::object();
      read_decoder(decoder);
    }
    read_named();
    for (const auto& [content, id] : added_.json.items()) {
      const bool special = std::find(named_.begin(), named_.end(), content) != named_.end();
      add({content, token_id(id, content, added_.path), special, !special}, added_.path);
    }
    place();
    add_around("add_bos_token", "bos_token", parts_.ids_before);
    add_around("add_eos_token", "eos_token", parts_.ids_after);
  }

 private:
  // Other classes cut texts in other ways, or put other tokens around them.
  void check_class() const {
    const Json& type = value_at(config_.json, "tokenizer_class");
    const auto known = {"GPT2Tokenizer", "GPT2TokenizerFast", "CodeGenTokenizer", "CodeGenTokenizerFast"};
    if (!type.is_null() && std::none_of(known.begin(), known.end(), [&](const char* one) { return type == one; })) {
      unsupported(config_.path, cat("tokenizer_class ", type.dump(), " without a tokenizer.json"),
                  "GPT2Tokenizer; save_pretrained() of the tokenizer writes a tokenizer.json");
    }
    for (const char* key : {"split_special_tokens", "do_lower_case"}) {
      if (flag_at(config_.json, key, false, config_.path)) unsupported(config_.path, key, "false");
    }
  }

  void read_decoder(const Json& decoder) {
    WT_CHECK(decoder.is_object(), config_.path, ": \"added_tokens_decoder\" is ", decoder.type_name(),
             ", expected an object");
    for (const auto& [id, token] : decoder.items()) {
      const bool number = !id.empty() && id.size() < 10 && id.find_first_not_of("0123456789") == std::string::npos;
      add(read_added_token(token, number ? Json(std::stoi(id)) : Json(id), config_.path), config_.path);
    }
  }

  // The value of a named token, or null. special_tokens_map.json comes before tokenizer_config.json.
  const Json& named(const char* key) const {
    const Json& value = value_at(special_.json, key);
    return value.is_null() ? value_at(config_.json, key) : value;
  }

  // "<s>" or {"content": "<s>", ...}.
  std::string content_of(const Json& value, const char* key) const {
    if (value.is_string()) return value.get<std::string>();
    WT_CHECK(value.is_object(), config_.path, ": \"", key, "\" has ", value.dump().substr(0, 60),
             ", expected a token's text");
    return read_added_token(value, Json(0), config_.path).content;
  }

  void read_named() {
    for (const char* key :
         {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
      const Json& value = named(key);
      if (!absent_or_empty(value)) named_.push_back(content_of(value, key));
    }
    for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
      for (const Json& value : named(key)) named_.push_back(content_of(value, key));
    }
    // The default is a special token only where the vocabulary has it.
    if (vocab_.contains(kEndOfText)) named_.emplace_back(kEndOfText);
  }

  void add(AddedToken token, const std::string& path) {
    const auto [at, fresh] = tokens_.emplace(token.id, token);
    WT_CHECK(fresh || at->second.content == token.content, path, ": id ", token.id, " is \"", at->second.content,
             "\" and \"", token.content, "\"");
  }

  // Ids go on behind the vocabulary without a gap, as the library counts them, those of named tokens last.
  void place() {
    auto next = static_cast<std::int32_t>(vocab_.size());
    std::map<std::string, std::size_t> at;  // in parts_.added_tokens
    const auto append = [&](AddedToken token) {
      if (at.contains(token.content)) return;
      next = std::max(next, token.id + 1);
      at.emplace(token.content, parts_.added_tokens.size());
      parts_.added_tokens.push_back(std::move(token));
    };
    for (const auto& [id, token] : tokens_) {
      const auto known = vocab_.find(token.content);
      const std::int32_t expected = known != vocab_.end() ? known->second : next;
      WT_CHECK(id == expected, parts_.name, ": added token \"", token.content, "\" has id ", id, ", expected ",
               expected, known != vocab_.end() ? ", as in the vocabulary" : ", the next behind the vocabulary");
      append(token);
    }
    for (const std::string& content : named_) {
      const auto known = vocab_.find(content);
      append({content, known != vocab_.end() ? known->second : next, true, false});
      parts_.added_tokens[at.at(content)].special = true;
    }
  }

  void add_around(const char* flag, const char* key, std::vector<std::int32_t>& ids) const {
    if (!flag_at(config_.json, flag, false, config_.path)) return;
    const Json& value = named(key);
    const std::string content = absent_or_empty(value) ? kEndOfText : content_of(value, key);
    for (const AddedToken& token : parts_.added_tokens) {
      if (token.content == content) ids.push_back(token.id);
    }
    WT_CHECK(!ids.empty(), config_.path, ": ", flag, " with \"", content, "\", which is no token");
  }

  TokenizerParts& parts_;
  Beside config_, special_, added_;
  std::map<std::string, std::int32_t> vocab_;
  std::map<std::int32_t, AddedToken> tokens_;
  std::vector<std::string> named_;
};

}  // namespace

TokenizerParts read_vocab_and_merges(const std::string& vocab_path, const std::string& merges_path) {
  TokenizerParts parts;
  parts.name = vocab_path;
  parts.files = {vocab_path, merges_path};
  parse_vocab(read_file(vocab_path), vocab_path, parts.lists);
  read_merges(merges_path, parts);
  parts.split_patterns.push_back(kGpt2Pattern);
  Folder(fs::path(vocab_path).parent_path(), parts).read();
  return parts;
}

}  // namespace wt
