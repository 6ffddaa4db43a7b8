// Values in a tokenizer's JSON files. `name` stands for the file in errors. Internal to the tokenizer.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "data/tokenizer_parts.h"

namespace wt {

// Throws Error "NAME: WHAT is not supported, expected SUPPORTED".
[[noreturn]] void unsupported(const std::string& name, const std::string& what, const std::string& supported);

// A key that is not there counts as null.
const nlohmann::json& value_at(const nlohmann::json& parent, const char* key);
// These throw Error where the value is of another type; flag_at() takes null for `fallback`.
const nlohmann::json& object_at(const nlohmann::json& parent, const char* key, const std::string& name);
bool flag_at(const nlohmann::json& parent, const char* key, bool fallback, const std::string& name);
std::string text_at(const nlohmann::json& parent, const char* key, const std::string& name);
std::int32_t token_id(const nlohmann::json& value, const std::string& token, const std::string& name);
bool absent_or_empty(const nlohmann::json& value);
// A key we do not know may change the ids, so it is an error rather than ignored.
void check_keys(const nlohmann::json& object, std::initializer_list<const char*> known, const std::string& where,
                const std::string& name);

// {"content": "<s>", "special": true, ...}, as tokenizer.json and tokenizer_config.json write it. Throws Error for
// single_word, lstrip and rstrip.
AddedToken read_added_token(const nlohmann::json& token, const nlohmann::json& id, const std::string& name);

}  // namespace wt
