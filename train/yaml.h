// Strict YAML: a tree in which every value knows the file and line it came from. Refused, because YAML readers disagree
// about them or drop them in silence: duplicate keys, `<<` merges, anchors, aliases, tags, a second document, keys that
// are not text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wt {

struct YamlField;

struct YamlNode {
  enum class Kind : std::uint8_t { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  std::string where;              // "config.yaml:12" or "command line: 'train.k2=1'"
  std::string text;               // kScalar, as written, quotes removed
  bool quoted = false;            // kScalar: a quoted value is text, whatever it looks like
  std::string typed;              // of an override: the value as it was typed, which is what a key for text takes
  std::string problem;            // of an override: why `typed` is no YAML; it is then a quoted kScalar
  std::vector<YamlNode> items;    // kList
  std::vector<YamlField> fields;  // kMap, in the file's order

  const YamlNode* find(std::string_view key) const;
  // For messages: "'12x'", "a list", "a group of keys", "empty".
  std::string describe() const;
};

// An entry of a map.
struct YamlField {
  std::string name;
  YamlNode node;
};

// Both throw UsageError "file:line: what is wrong". An empty text is a null.
YamlNode read_yaml(const std::string& path);
YamlNode parse_yaml(const std::string& text, const std::string& name);

// Sets one value: "train.stages.0.steps=10". The path's groups are made where they are missing; a list's entry must be
// there. The value is read as YAML, and kept as it was typed; an empty one is empty text. Throws UsageError that starts
// with "command line: " and the assignment.
void apply_override(YamlNode& root, const std::string& assignment);

// Makes in `tree` the changes that lead from `before` to `after`: two readings of a file that `tree` once came from.
void carry_changes(const YamlNode& before, const YamlNode& after, YamlNode& tree);

// The values of plain scalars, or nothing where the text is no such thing. Whole numbers may have an exponent where the
// result is exact (1e3); a leading zero (010: eight or ten?) is not accepted, nor are inf and nan.
std::optional<std::int64_t> yaml_integer(const YamlNode& node);
std::optional<double> yaml_real(const YamlNode& node);
std::optional<bool> yaml_boolean(const YamlNode& node);

// Text that reads back as the same value.
std::string format_real(double value);
std::string format_text(std::string_view value);

}  // namespace wt
