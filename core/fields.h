// One list per settings struct, and everything that follows from it. A struct's describe function names each key once:
// where its value lives, what is allowed, what it means; the default is the member's own. Whoever implements Fields
// then reads a file into the struct, writes the struct, or prints the reference (train/fields.h: as YAML).
//
//   void describe(Fields& f, OptimizerConfig& c) {
//     f.real("lr", c.lr, above(0), "Highest learning rate");
//     f.choice("kind", c.kind, {{"adamw", Kind::kAdamW}}, "Update rule");
//   }
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace wt {

// The numbers allowed for a key.
struct Range {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool min_open = false, max_open = false;  // the bound itself is not allowed
  bool contains(double value) const;
  std::string str() const;                  // "from 0 to 1", "at least 1", "above 0"; "" where everything is allowed
  std::string str(const char* kind) const;  // "a number above 0"
};
inline Range at_least(double min) {
  return {.min = min};
}
inline Range above(double min) {
  return {.min = min, .min_open = true};
}
inline Range from_to(double min, double max) {
  return {.min = min, .max = max};
}
// Of widths and counts: small enough that products of two stay in 64 bits.
inline Range count_from(double min) {
  return {.min = min, .max = 1e9};
}
inline Range from_to_below(double min, double max) {
  return {.min = min, .max = max, .max_open = true};
}

struct WeightedName {
  std::string name;
  double weight = 1;
  bool operator==(const WeightedName&) const = default;
};

enum class Presence : std::uint8_t { kOptional, kRequired };

class Fields {
 public:
  using Describe = std::function<void(Fields&)>;
  virtual ~Fields() = default;

  virtual void integer(const char* key, std::int64_t& value, Range allowed, const char* doc,
                       Presence presence = Presence::kOptional) = 0;
  virtual void real(const char* key, double& value, Range allowed, const char* doc,
                    Presence presence = Presence::kOptional) = 0;
  virtual void boolean(const char* key, bool& value, const char* doc) = 0;
  virtual void text(const char* key, std::string& value, const char* doc, Presence presence = Presence::kOptional) = 0;
  // A list, or a single value, which is a list of one.
  virtual void texts(const char* key, std::vector<std::string>& values, const char* doc) = 0;
  virtual void integers(const char* key, std::vector<std::int64_t>& values, Range allowed, const char* doc) = 0;
  // Names with weights: a map of name to weight above 0, or a list of names or a single one, of weight 1 each.
  virtual void weights(const char* key, std::vector<WeightedName>& values, const char* doc) = 0;
  // One of several words, each standing for a value of E.
  template <class E>
  void choice(const char* key, E& value, const std::vector<std::pair<std::string, E>>& options, const char* doc);

  // A group of keys below this one; for optional groups `present` says whether it is there (an empty value, `armt:`
  // or `armt=null`, means absent).
  virtual void group(const char* key, const char* doc, const Describe& describe) = 0;
  virtual void optional_group(const char* key, bool& present, const char* doc, const Describe& describe) = 0;
  // The same of an optional struct that has a describe() of its own.
  template <class T>
  void optional_group(const char* key, std::optional<T>& value, const char* doc);
  // A list of groups. Every entry starts as a copy of `prototype`, so keys left out keep its values.
  template <class T>
  void groups(const char* key, std::vector<T>& entries, const T& prototype, const char* doc,
              const std::function<void(Fields&, T&)>& describe);
  // Keys that exist under other settings but must not be given under these, and why.
  virtual void excluded(const Describe& describe, const char* reason) = 0;
  // Keys of earlier versions or of other kinds: read and checked where a file has them, never missed where it has not;
  // left out of what is written and listed, of the reference, and of what an unknown key might have meant.
  virtual void retired(const Describe& describe) = 0;

 protected:
  virtual void choice_text(const char* key, std::string& value, const std::vector<std::string>& options,
                           const char* doc) = 0;
  struct GroupList {
    std::size_t count;
    std::function<void(std::size_t)> resize;
    std::function<void(std::size_t, Fields&)> describe;
    Describe describe_prototype;
  };
  virtual void group_list(const char* key, const char* doc, const GroupList& list) = 0;
};

template <class E>
void Fields::choice(const char* key, E& value, const std::vector<std::pair<std::string, E>>& options, const char* doc) {
  std::vector<std::string> names;
  std::string name;
  for (const auto& [option, meaning] : options) {
    names.push_back(option);
    if (meaning == value) name = option;
  }
  choice_text(key, name, names, doc);
  for (const auto& [option, meaning] : options) {
    if (option == name) value = meaning;
  }
}

template <class T>
void Fields::optional_group(const char* key, std::optional<T>& value, const char* doc) {
  bool present = value.has_value();
  T inside = value.value_or(T{});
  optional_group(key, present, doc, [&](Fields& fields) { describe(fields, inside); });
  value = present ? std::optional<T>(std::move(inside)) : std::nullopt;
}

template <class T>
void Fields::groups(const char* key, std::vector<T>& entries, const T& prototype, const char* doc,
                    const std::function<void(Fields&, T&)>& describe) {
  T example = prototype;
  group_list(key, doc,
             {.count = entries.size(),
              .resize = [&](std::size_t count) { entries.assign(count, prototype); },
              .describe = [&](std::size_t index, Fields& fields) { describe(fields, entries[index]); },
              .describe_prototype = [&](Fields& fields) { describe(fields, example); }});
}

}  // namespace wt
