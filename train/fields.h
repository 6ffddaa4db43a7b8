// Settings structs as YAML: what their describe functions (core/fields.h) list is read, written, listed and printed as
// the reference.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/fields.h"
#include "train/yaml.h"

namespace wt {

// Where each key of a configuration was set: dotted path -> "config.yaml:12".
class Places {
 public:
  void set(const std::string& path, const std::string& where) { places_[path] = where; }
  bool has(const std::string& path) const { return places_.count(path) > 0; }
  // The place of the key, or of the nearest group above it that was given.
  std::string of(std::string path) const;
  // Throws UsageError "config.yaml:12: model.num_heads: <what>".
  [[noreturn]] void fail(const std::string& path, const std::string& what) const;

 private:
  std::map<std::string, std::string> places_;
};

// Reads a map into what `describe` describes. Text given by an override is taken as it was typed (but for quotes around
// all of it), a list's as entries between commas. Throws UsageError for an unknown key (naming the nearest known one,
// or where in the tree it stands), a wrong type, a value out of range (saying what is allowed) and a missing required
// key.
void read_fields(const YamlNode& root, Places& places, const Fields::Describe& describe);
// The values as YAML that reads back the same. Entries of lists of groups leave out what they have from their
// prototype.
std::string write_fields(const Fields::Describe& describe);

// A key's dotted path and its value as YAML.
using FieldValue = std::pair<std::string, std::string>;
// All values there are, in order; entries of lists of groups whole.
std::vector<FieldValue> list_fields(const Fields::Describe& describe);
// The paths of all keys and groups that can be, those of list entries with the number 0.
std::vector<std::string> field_paths(const Fields::Describe& describe);
// All keys with their meaning, what is allowed, and the default. Describe a default-made struct.
std::string field_reference(const Fields::Describe& describe);

}  // namespace wt
