#include "core/json_object.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.h"
#include "core/text.h"

namespace wt {
namespace {

using Json = nlohmann::json;

std::string shown(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

}  // namespace

JsonObject::JsonObject(const Json& json, std::string file, std::string prefix)
    : json_(json), file_(std::move(file)), prefix_(std::move(prefix)) {
  if (!json_.is_object()) {
    throw Error(cat(file_, ": ", prefix_.empty() ? "" : prefix_ + ": ", "is ", shown(json_), ", expected an object"));
  }
}

bool JsonObject::has(const std::string& key) const {
  return json_.contains(key) && !json_[key].is_null();
}

std::vector<std::string> JsonObject::keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : json_.items()) keys.push_back(key);
  return keys;
}

JsonObject JsonObject::object(const std::string& key) const {
  if (!has(key)) wrong(key, "an object");
  return JsonObject(json_[key], file_, path_of(key));
}

std::vector<JsonObject> JsonObject::objects(const std::string& key) const {
  if (!has(key) || !json_[key].is_array() || json_[key].empty()) wrong(key, "a list of objects");
  std::vector<JsonObject> all;
  for (std::size_t i = 0; i < json_[key].size(); ++i) all.emplace_back(json_[key][i], file_, cat(path_of(key), ".", i));
  return all;
}

std::vector<std::int64_t> JsonObject::integers(const std::string& key, std::int64_t min) const {
  if (!has(key) || !json_[key].is_array()) wrong(key, "a list of whole numbers");
  std::vector<std::int64_t> all;
  for (const Json& value : json_[key]) {
    const bool fits = value.is_number_integer() && (!value.is_number_unsigned() || value <= INT64_MAX);
    if (!fits || value.get<std::int64_t>() < min) wrong(key, cat("whole numbers, at least ", min));
    all.push_back(value.get<std::int64_t>());
  }
  return all;
}

std::int64_t JsonObject::integer(const std::string& key, std::int64_t min, std::optional<std::int64_t> fallback) const {
  if (!present(key, fallback.has_value())) return *fallback;
  const Json& value = json_[key];
  const bool fits = value.is_number_integer() && (!value.is_number_unsigned() || value <= INT64_MAX);
  if (!fits || value.get<std::int64_t>() < min) wrong(key, cat("a whole number, at least ", min));
  return value.get<std::int64_t>();
}

double JsonObject::real(const std::string& key, std::optional<double> fallback) const {
  if (!present(key, fallback.has_value())) return *fallback;
  if (!json_[key].is_number() || !std::isfinite(json_[key].get<double>())) wrong(key, "a number");
  return json_[key].get<double>();
}

double JsonObject::positive(const std::string& key, std::optional<double> fallback) const {
  const double value = real(key, fallback);
  if (value <= 0) wrong(key, "a number above 0");
  return value;
}

bool JsonObject::boolean(const std::string& key, std::optional<bool> fallback) const {
  if (!present(key, fallback.has_value())) return *fallback;
  if (!json_[key].is_boolean()) wrong(key, "true or false");
  return json_[key].get<bool>();
}

bool JsonObject::is_text(const std::string& key) const {
  return has(key) && json_[key].is_string();
}

std::optional<std::pair<double, double>> JsonObject::interval(const std::string& key) const {
  if (!has(key)) return std::nullopt;
  const auto number = [&](const Json& value) {
    const Json& inner =
        value.is_object() && value.size() == 1 && value.contains("__float__") ? value["__float__"] : value;
    if (inner.is_number() && !value.is_object()) return inner.get<double>();
    if (inner.is_string() && (inner == "Infinity" || inner == "inf")) return std::numeric_limits<double>::infinity();
    return std::numeric_limits<double>::quiet_NaN();
  };
  const Json& value = json_[key];
  constexpr const char* kExpected = "two numbers, the first not above the second";
  if (!value.is_array() || value.size() != 2) wrong(key, kExpected);
  const double low = number(value[0]), high = number(value[1]);
  if (!std::isfinite(low) || !(low <= high)) wrong(key, kExpected);
  return std::pair(low, high);
}

std::string JsonObject::text(const std::string& key, std::optional<std::string> fallback) const {
  if (!present(key, fallback.has_value())) return *fallback;
  if (!json_[key].is_string()) wrong(key, "text");
  return json_[key].get<std::string>();
}

std::vector<std::string> JsonObject::texts(const std::string& key) const {
  if (!has(key) || !json_[key].is_array() || json_[key].empty()) wrong(key, "a list of texts");
  std::vector<std::string> all;
  for (const Json& value : json_[key]) {
    if (!value.is_string()) wrong(key, "a list of texts");
    all.push_back(value.get<std::string>());
  }
  return all;
}

std::vector<std::int64_t> JsonObject::tokens(const std::string& key) const {
  if (!has(key)) return {};
  const Json& value = json_[key];
  std::vector<std::int64_t> ids;
  for (const Json& id : value) {  // a number is a list of one
    if (!id.is_number_integer() || id < 0 || id > std::numeric_limits<std::int32_t>::max()) wrong(key, "a token id");
    ids.push_back(id.get<std::int64_t>());
  }
  if (ids.empty()) wrong(key, "a token id");
  return ids;
}

void JsonObject::must_be(const std::string& key, bool expected) const {
  if (boolean(key, expected) != expected) {
    wrong(key, cat(expected ? "true" : "false", " (anything else is not supported)"));
  }
}

void JsonObject::must_be_absent(const std::string& key) const {
  if (has(key)) wrong(key, "nothing there: it is not supported");
}

void JsonObject::must_be_one_of(const std::string& key, const std::vector<std::string>& options,
                                const char* fallback) const {
  const std::string value = text(key, fallback);
  std::string list;
  for (const std::string& option : options) {
    if (option == value) return;
    list += (list.empty() ? "" : " or ") + option;
  }
  wrong(key, list);
}

void JsonObject::refuse_other_keys(const std::vector<std::string>& known) const {
  for (const auto& [key, value] : json_.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      throw Error(cat(file_, ": ", path_of(key), ": unknown key", did_you_mean(key, known)));
    }
  }
}

void JsonObject::fail(const std::string& key, const std::string& what) const {
  throw Error(cat(file_, ": ", path_of(key), ": ", what));
}

void JsonObject::wrong(const std::string& key, const std::string& expected) const {
  fail(key, cat("is ", json_.contains(key) ? shown(json_[key]) : "missing", ", expected ", expected));
}

bool JsonObject::present(const std::string& key, bool optional) const {
  if (has(key)) return true;
  if (!optional) wrong(key, "a value");
  return false;
}

}  // namespace wt
