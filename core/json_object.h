// One JSON object of a file, read key by key. A null counts as absent. Errors name file, key and what was expected:
// "config.json: armt.nu: is 0, expected a whole number, at least 1".
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace wt {

class JsonObject {
 public:
  // `json` must outlive this and every object() of it. Throws Error where it is no object. `prefix` is the dotted path
  // to it.
  JsonObject(const nlohmann::json& json, std::string file, std::string prefix = "");

  bool has(const std::string& key) const;
  std::vector<std::string> keys() const;
  JsonObject object(const std::string& key) const;                // which must be there
  std::vector<JsonObject> objects(const std::string& key) const;  // a list of at least one

  // A key without a fallback must be there.
  std::int64_t integer(const std::string& key, std::int64_t min, std::optional<std::int64_t> fallback = {}) const;
  double real(const std::string& key, std::optional<double> fallback = {}) const;      // finite
  double positive(const std::string& key, std::optional<double> fallback = {}) const;  // above 0
  bool boolean(const std::string& key, std::optional<bool> fallback = {}) const;
  bool is_text(const std::string& key) const;  // false where it is absent
  // Two numbers, the first not above the second, which may be infinite: "Infinity", or as Python's libraries write it,
  // {"__float__": "Infinity"} or bare (core/json.h).
  std::optional<std::pair<double, double>> interval(const std::string& key) const;
  std::string text(const std::string& key, std::optional<std::string> fallback = {}) const;
  // A list of at least one.
  std::vector<std::string> texts(const std::string& key) const;
  // A list, which may be empty.
  std::vector<std::int64_t> integers(const std::string& key, std::int64_t min) const;
  // A token id or a list of them; empty where there is none.
  std::vector<std::int64_t> tokens(const std::string& key) const;

  // What would change the numbers and is not supported.
  void must_be(const std::string& key, bool expected) const;
  void must_be_absent(const std::string& key) const;
  void must_be_one_of(const std::string& key, const std::vector<std::string>& options, const char* fallback) const;
  void refuse_other_keys(const std::vector<std::string>& known) const;

  // Throw Error: "FILE: KEY: <what>", and "FILE: KEY: is <its value>, expected <expected>".
  [[noreturn]] void fail(const std::string& key, const std::string& what) const;
  [[noreturn]] void wrong(const std::string& key, const std::string& expected) const;

 private:
  bool present(const std::string& key, bool optional) const;
  std::string path_of(const std::string& key) const { return prefix_.empty() ? key : prefix_ + "." + key; }

  const nlohmann::json& json_;
  std::string file_, prefix_;
};

}  // namespace wt
