#include "train/fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "core/error.h"
#include "core/text.h"

namespace wt {
namespace {

// Collects the names of a group's keys. Looks at nothing else of `node`, the group's map, than its choices: which keys
// there are may depend on them. Null: the group was left out.
class KeyCollector : public Fields {
 public:
  explicit KeyCollector(const YamlNode* node) : node_(node) {}

  std::vector<std::string> keys, retired_keys;

  bool has(const std::string& key) const {
    return std::find(keys.begin(), keys.end(), key) != keys.end() ||
           std::find(retired_keys.begin(), retired_keys.end(), key) != retired_keys.end();
  }

  void integer(const char* key, std::int64_t&, Range, const char*, Presence) override { add(key); }
  void real(const char* key, double&, Range, const char*, Presence) override { add(key); }
  void boolean(const char* key, bool&, const char*) override { add(key); }
  void text(const char* key, std::string&, const char*, Presence) override { add(key); }
  void texts(const char* key, std::vector<std::string>&, const char*) override { add(key); }
  void integers(const char* key, std::vector<std::int64_t>&, Range, const char*) override { add(key); }
  void weights(const char* key, std::vector<WeightedName>&, const char*) override { add(key); }
  void group(const char* key, const char*, const Describe&) override { add(key); }
  void optional_group(const char* key, bool&, const char*, const Describe&) override { add(key); }
  void excluded(const Describe& describe, const char*) override { describe(*this); }
  void retired(const Describe& describe) override {
    const bool before = std::exchange(retired_, true);
    describe(*this);
    retired_ = before;
  }

 protected:
  void choice_text(const char* key, std::string& value, const std::vector<std::string>& options, const char*) override {
    add(key);
    const YamlNode* chosen = node_ == nullptr ? nullptr : node_->find(key);
    if (chosen == nullptr || chosen->kind != YamlNode::Kind::kScalar) return;
    if (std::find(options.begin(), options.end(), chosen->text) != options.end()) value = chosen->text;
  }
  void group_list(const char* key, const char*, const GroupList&) override { add(key); }

 private:
  void add(const char* key) { (retired_ ? retired_keys : keys).emplace_back(key); }

  const YamlNode* node_;
  bool retired_ = false;
};

// Whether text is wanted as an override has it typed: not where quotes are around all of it, nor a null's word.
bool is_taken_as_typed(const YamlNode& node) {
  const std::string& typed = node.typed;
  if (typed.empty()) return false;
  if (node.kind == YamlNode::Kind::kNull) return typed != "~" && typed != "null";
  const bool in_quotes = node.quoted && node.problem.empty() && typed.size() >= 2 && typed.front() == typed.back() &&
                         (typed.front() == '"' || typed.front() == '\'');
  return !in_quotes;
}

// ", did you mean …?" for a key that is not known where it stands: the same key elsewhere in the tree, the nearest one
// here, the nearest one elsewhere; "" where there is none.
std::string key_hint(const std::string& key, const std::vector<std::string>& here,
                     const std::vector<std::string>& everywhere) {
  const auto name_of = [](const std::string& path) { return path.substr(path.rfind('.') + 1); };
  const auto named = [&](const std::string& name) {
    std::vector<std::string> found;
    for (const std::string& path : everywhere) {
      if (name_of(path) == name) found.push_back(path);
    }
    return found.empty() ? "" : fmt::format(", did you mean {}?", fmt::join(found, " or "));
  };
  if (const std::string same = named(key); !same.empty()) return same;
  if (const std::string near = did_you_mean(key, here); !near.empty()) return near;
  std::vector<std::string> names;
  for (const std::string& path : everywhere) names.push_back(name_of(path));
  const std::string near = nearest(key, names);
  return near.empty() ? "" : named(near);
}

class Reader : public Fields {
 public:
  // `node` is the group's map, or null where the group was left out; `everywhere` names all keys of the tree.
  Reader(const YamlNode* node, std::string path, Places& places, const std::vector<std::string>& everywhere,
         const Describe& describe)
      : node_(node), path_(std::move(path)), places_(places), everywhere_(everywhere) {
    if (node_ != nullptr) {
      places_.set(path_, node_->where);
      if (node_->kind != YamlNode::Kind::kMap && node_->kind != YamlNode::Kind::kNull) {
        throw UsageError(cat(node_->where, ": ", path_.empty() ? "the file" : path_, " is ", node_->describe(),
                             ", expected a group of keys"));
      }
      refuse_unknown_keys(describe);
    }
    describe(*this);
  }

  void integer(const char* key, std::int64_t& value, Range allowed, const char*, Presence presence) override {
    if (const YamlNode* node = find(key, presence)) value = integer_at(*node, path_of(key), allowed);
  }
  void real(const char* key, double& value, Range allowed, const char*, Presence presence) override {
    const YamlNode* node = find(key, presence);
    if (node == nullptr) return;
    const std::optional<double> read = yaml_real(*node);
    if (!read || !allowed.contains(*read)) wrong(*node, path_of(key), allowed.str("a number"));
    value = *read;
  }
  void boolean(const char* key, bool& value, const char*) override {
    const YamlNode* node = find(key, Presence::kOptional);
    if (node == nullptr) return;
    const std::optional<bool> read = yaml_boolean(*node);
    if (!read) wrong(*node, path_of(key), "true or false");
    value = *read;
  }
  void text(const char* key, std::string& value, const char*, Presence presence) override {
    if (const YamlNode* node = find(key, presence)) value = text_at(*node, path_of(key));
  }
  void texts(const char* key, std::vector<std::string>& values, const char*) override {
    read_list(key, values, [&](const YamlNode& node, const std::string& path) { return text_at(node, path); });
  }
  void integers(const char* key, std::vector<std::int64_t>& values, Range allowed, const char*) override {
    read_list(key, values,
              [&](const YamlNode& node, const std::string& path) { return integer_at(node, path, allowed); });
  }
  void weights(const char* key, std::vector<WeightedName>& values, const char*) override {
    const YamlNode* node = find(key, Presence::kOptional);
    if (node == nullptr) return;
    if (node->kind != YamlNode::Kind::kMap) {
      read_list(key, values, [&](const YamlNode& item, const std::string& path) {
        return WeightedName{text_at(item, path), 1};
      });
      return;
    }
    values.clear();
    const Range allowed = above(0);
    for (const auto& [name, weight] : node->fields) {
      const std::string path = cat(path_of(key), ".", name);
      places_.set(path, weight.where);
      const std::optional<double> read = yaml_real(weight);
      if (!read || !allowed.contains(*read)) wrong(weight, path, allowed.str("a weight"));
      values.push_back({name, *read});
    }
  }
  void group(const char* key, const char*, const Describe& describe) override {
    const YamlNode* node = find(key, Presence::kOptional);
    if (node == nullptr && retired_) return;
    Reader(node, path_of(key), places_, everywhere_, describe);
  }
  void optional_group(const char* key, bool& present, const char*, const Describe& describe) override {
    const YamlNode* node = find(key, Presence::kOptional);
    if (node == nullptr) return;
    present = node->kind != YamlNode::Kind::kNull;
    if (present) Reader(node, path_of(key), places_, everywhere_, describe);
  }
  void excluded(const Describe& describe, const char* reason) override {
    KeyCollector refused(node_);
    describe(refused);
    for (const auto* keys : {&refused.keys, &refused.retired_keys}) {
      for (const std::string& key : *keys) {
        if (find(key.c_str(), Presence::kOptional) != nullptr) places_.fail(path_of(key), reason);
      }
    }
  }
  void retired(const Describe& describe) override {
    const bool before = std::exchange(retired_, true);
    describe(*this);
    retired_ = before;
  }

 protected:
  void choice_text(const char* key, std::string& value, const std::vector<std::string>& options, const char*) override {
    const YamlNode* node = find(key, Presence::kOptional);
    if (node == nullptr) return;
    const bool known =
        node->kind == YamlNode::Kind::kScalar && std::find(options.begin(), options.end(), node->text) != options.end();
    if (!known) wrong(*node, path_of(key), fmt::format("{}", fmt::join(options, " or ")));
    value = node->text;
  }
  void group_list(const char* key, const char*, const GroupList& list) override {
    const YamlNode* node = find(key, Presence::kOptional);
    if (node == nullptr) return;
    if (node->kind != YamlNode::Kind::kList) wrong(*node, path_of(key), "a list of groups");
    list.resize(node->items.size());
    for (std::size_t i = 0; i < node->items.size(); ++i) {
      Reader(&node->items[i], cat(path_of(key), ".", i), places_, everywhere_,
             [&](Fields& fields) { list.describe(i, fields); });
    }
  }

 private:
  std::string path_of(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }

  void refuse_unknown_keys(const Describe& describe) const {
    KeyCollector known(node_);
    describe(known);
    for (const auto& [key, value] : node_->fields) {
      if (known.has(key)) continue;
      std::vector<std::string> others = everywhere_;  // a key of another choice may be known under this very path
      std::erase(others, path_of(key));
      const std::string hint = key_hint(key, known.keys, others);
      throw UsageError(cat(value.where, ": ", path_of(key), ": unknown key",
                           hint.empty() ? fmt::format("; known here: {}", fmt::join(known.keys, ", ")) : hint));
    }
  }
  const YamlNode* find(const char* key, Presence presence) {
    const YamlNode* node = node_ == nullptr ? nullptr : node_->find(key);
    if (node != nullptr) places_.set(path_of(key), node->where);
    if (node == nullptr && presence == Presence::kRequired && !retired_) {
      places_.fail(path_of(key), "missing, must be given");
    }
    return node;
  }
  [[noreturn]] static void wrong(const YamlNode& node, const std::string& path, const std::string& expected) {
    if (!node.problem.empty()) {
      throw UsageError(cat(node.where, ": ", path, ": ", node.problem, "; expected ", expected));
    }
    throw UsageError(
        cat(node.where, ": ", path, ": is ", node.quoted ? "the text " : "", node.describe(), ", expected ", expected));
  }
  static std::int64_t integer_at(const YamlNode& node, const std::string& path, const Range& allowed) {
    const std::optional<std::int64_t> read = yaml_integer(node);
    if (!read || !allowed.contains(static_cast<double>(*read))) {
      wrong(node, path, allowed.str("a whole number"));
    }
    return *read;
  }
  static std::string text_at(const YamlNode& node, const std::string& path) {
    if (is_taken_as_typed(node)) return node.typed;
    if (node.kind != YamlNode::Kind::kScalar) wrong(node, path, "text");
    return node.text;
  }
  // An override's 1,2,4 as three values; anything else as itself.
  static std::vector<YamlNode> typed_items(const YamlNode& node) {
    if (!is_taken_as_typed(node) || node.typed.find(',') == std::string::npos) return {node};
    std::vector<YamlNode> items;
    std::istringstream parts(node.typed + ",");
    for (std::string part; std::getline(parts, part, ',');) {
      YamlNode item;
      item.kind = YamlNode::Kind::kScalar;
      item.text = trimmed(part);
      item.where = node.where;
      items.push_back(std::move(item));
    }
    return items;
  }
  template <class T, class ReadOne>
  void read_list(const char* key, std::vector<T>& values, ReadOne&& read_one) {
    const YamlNode* node = find(key, Presence::kOptional);
    if (node == nullptr) return;
    values.clear();
    if (node->kind != YamlNode::Kind::kList) {
      if (!node->problem.empty() && (node->typed[0] == '[' || node->typed[0] == '{'))
        wrong(*node, path_of(key), "a list");
      for (const YamlNode& item : typed_items(*node)) values.push_back(read_one(item, path_of(key)));
      return;
    }
    for (std::size_t i = 0; i < node->items.size(); ++i) {
      const std::string path = cat(path_of(key), ".", i);
      places_.set(path, node->items[i].where);
      values.push_back(read_one(node->items[i], path));
    }
  }

  const YamlNode* node_;
  std::string path_;
  Places& places_;
  const std::vector<std::string>& everywhere_;
  bool retired_ = false;  // the keys that are being described are: none has to be there
};

}  // namespace

std::string Places::of(std::string path) const {
  while (true) {
    const auto found = places_.find(path);
    if (found != places_.end()) return found->second;
    if (path.empty()) return "config";
    const std::size_t dot = path.rfind('.');
    path = dot == std::string::npos ? "" : path.substr(0, dot);
  }
}

void Places::fail(const std::string& path, const std::string& what) const {
  throw UsageError(cat(of(path), ": ", path, ": ", what));
}

void read_fields(const YamlNode& root, Places& places, const Fields::Describe& describe) {
  Reader(&root, "", places, field_paths(describe), describe);
}

}  // namespace wt
