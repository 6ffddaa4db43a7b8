#include "data/tokenizer_values.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace wt {

using Json = nlohmann::json;

void unsupported(const std::string& name, const std::string& what, const std::string& supported) {
  throw Error(cat(name, ": ", what, " is not supported, expected ", supported));
}

const Json& object_at(const Json& parent, const char* key, const std::string& name) {
  const auto found = parent.find(key);
  if (found == parent.end() || !found->is_object()) throw Error(cat(name, ": no object \"", key, "\""));
  return *found;
}

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

AddedToken read_added_token(const Json& token, const Json& id, const std::string& name) {
  if (!token.is_object()) throw Error(cat(name, ": an added token is ", token.dump(), ", expected an object"));
  check_keys(token, {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special", "__type"},
             "an added token", name);
  AddedToken added;
  added.content = text_at(token, "content", name);
  if (added.content.empty()) throw Error(cat(name, ": an added token without content"));
  added.id = token_id(id, added.content, name);
  for (const char* key : {"single_word", "lstrip", "rstrip"}) {
    if (flag_at(token, key, false, name)) {
      unsupported(name, cat(key, " of added token \"", added.content, "\""), "false");
    }
  }
  added.special = flag_at(token, "special", false, name);
  added.normalized = flag_at(token, "normalized", !added.special, name);
  return added;
}

}  // namespace wt
