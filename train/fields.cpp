#include "train/fields.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/text.h"

namespace wt {
namespace {

std::string number(double value) {
  const bool whole = value == std::floor(value) && std::abs(value) < 1e15;
  return whole ? std::to_string(static_cast<std::int64_t>(value)) : cat(value);
}

std::string join(const std::vector<std::string>& words, const char* between) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : between) + word;
  return out;
}

std::string with_range(const char* kind, const Range& allowed) {
  const std::string range = allowed.str();
  return range.empty() ? kind : cat(kind, " ", range);
}

// Collects the names of a group's keys and looks at nothing else.
class KeyCollector : public Fields {
 public:
  std::vector<std::string> keys;

  void integer(const char* key, std::int64_t&, Range, const char*, Presence) override { keys.emplace_back(key); }
  void real(const char* key, double&, Range, const char*, Presence) override { keys.emplace_back(key); }
  void boolean(const char* key, bool&, const char*) override { keys.emplace_back(key); }
  void text(const char* key, std::string&, const char*, Presence) override { keys.emplace_back(key); }
  void texts(const char* key, std::vector<std::string>&, const char*) override { keys.emplace_back(key); }
  void integers(const char* key, std::vector<std::int64_t>&, Range, const char*) override { keys.emplace_back(key); }
  void weights(const char* key, std::vector<WeightedName>&, const char*) override { keys.emplace_back(key); }
  void group(const char* key, const char*, const Describe&) override { keys.emplace_back(key); }
  void optional_group(const char* key, bool&, const char*, const Describe&) override { keys.emplace_back(key); }
  void excluded(const Describe& describe, const char*) override { describe(*this); }

 protected:
  void choice_text(const char* key, std::string&, const std::vector<std::string>&, const char*) override {
    keys.emplace_back(key);
  }
  void group_list(const char* key, const char*, const GroupList&) override { keys.emplace_back(key); }
};

class Reader : public Fields {
 public:
  // `node` is the group's map, or null where the group was left out.
  Reader(const YamlNode* node, std::string path, Places& places, const Describe& describe)
      : node_(node), path_(std::move(path)), places_(places) {
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
    if (!read || !allowed.contains(*read)) wrong(*node, path_of(key), with_range("a number", allowed));
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
      if (!read || !allowed.contains(*read)) wrong(weight, path, with_range("a weight", allowed));
      values.push_back({name, *read});
    }
  }
  void group(const char* key, const char*, const Describe& describe) override {
    Reader(find(key, Presence::kOptional), path_of(key), places_, describe);
  }
  void optional_group(const char* key, bool& present, const char*, const Describe& describe) override {
    const YamlNode* node = find(key, Presence::kOptional);
    if (node == nullptr) return;
    present = node->kind != YamlNode::Kind::kNull;
    if (present) Reader(node, path_of(key), places_, describe);
  }
  void excluded(const Describe& describe, const char* reason) override {
    KeyCollector refused;
    describe(refused);
    for (const std::string& key : refused.keys) {
      if (find(key.c_str(), Presence::kOptional) != nullptr) places_.fail(path_of(key), reason);
    }
  }

 protected:
  void choice_text(const char* key, std::string& value, const std::vector<std::string>& options, const char*) override {
    const YamlNode* node = find(key, Presence::kOptional);
    if (node == nullptr) return;
    const bool known =
        node->kind == YamlNode::Kind::kScalar && std::find(options.begin(), options.end(), node->text) != options.end();
    if (!known) wrong(*node, path_of(key), join(options, " or "));
    value = node->text;
  }
  void group_list(const char* key, const char*, const GroupList& list) override {
    const YamlNode* node = find(key, Presence::kOptional);
    if (node == nullptr) return;
    if (node->kind != YamlNode::Kind::kList) wrong(*node, path_of(key), "a list of groups");
    list.resize(node->items.size());
    for (std::size_t i = 0; i < node->items.size(); ++i) {
      Reader(&node->items[i], cat(path_of(key), ".", i), places_, [&](Fields& fields) { list.describe(i, fields); });
    }
  }

 private:
  std::string path_of(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }

  void refuse_unknown_keys(const Describe& describe) const {
    KeyCollector known;
    describe(known);
    for (const auto& [key, value] : node_->fields) {
      if (std::find(known.keys.begin(), known.keys.end(), key) != known.keys.end()) continue;
      const std::string hint = did_you_mean(key, known.keys);
      throw UsageError(cat(value.where, ": ", path_of(key), ": unknown key",
                           hint.empty() ? cat("; known here: ", join(known.keys, ", ")) : hint));
    }
  }
  const YamlNode* find(const char* key, Presence presence) {
    const YamlNode* node = node_ == nullptr ? nullptr : node_->find(key);
    if (node != nullptr) places_.set(path_of(key), node->where);
    if (node == nullptr && presence == Presence::kRequired) places_.fail(path_of(key), "missing, must be given");
    return node;
  }
  [[noreturn]] static void wrong(const YamlNode& node, const std::string& path, const std::string& expected) {
    throw UsageError(
        cat(node.where, ": ", path, ": is ", node.quoted ? "the text " : "", node.describe(), ", expected ", expected));
  }
  static std::int64_t integer_at(const YamlNode& node, const std::string& path, const Range& allowed) {
    const std::optional<std::int64_t> read = yaml_integer(node);
    if (!read || !allowed.contains(static_cast<double>(*read))) {
      wrong(node, path, with_range("a whole number", allowed));
    }
    return *read;
  }
  static std::string text_at(const YamlNode& node, const std::string& path) {
    if (node.kind != YamlNode::Kind::kScalar) wrong(node, path, "text");
    return node.text;
  }
  template <class T, class ReadOne>
  void read_list(const char* key, std::vector<T>& values, ReadOne&& read_one) {
    const YamlNode* node = find(key, Presence::kOptional);
    if (node == nullptr) return;
    values.clear();
    if (node->kind != YamlNode::Kind::kList) {
      values.push_back(read_one(*node, path_of(key)));
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
};

// Writes values, or the reference: the same lines with comments and without what cannot have a default.
class Writer : public Fields {
 public:
  explicit Writer(bool reference) : reference_(reference) {}
  std::string take() { return std::move(out_); }

  void integer(const char* key, std::int64_t& value, Range allowed, const char* doc, Presence presence) override {
    line(key, std::to_string(value), doc, with_range("whole number", allowed), presence);
  }
  void real(const char* key, double& value, Range allowed, const char* doc, Presence presence) override {
    line(key, format_real(value), doc, with_range("number", allowed), presence);
  }
  void boolean(const char* key, bool& value, const char* doc) override {
    line(key, value ? "true" : "false", doc, "true or false", Presence::kOptional);
  }
  void text(const char* key, std::string& value, const char* doc, Presence presence) override {
    line(key, format_text(value), doc, "text", presence);
  }
  void texts(const char* key, std::vector<std::string>& values, const char* doc) override {
    std::vector<std::string> quoted;
    for (const std::string& value : values) quoted.push_back(format_text(value));
    line(key, "[" + join(quoted, ", ") + "]", doc, "text or a list of texts", Presence::kOptional);
  }
  void integers(const char* key, std::vector<std::int64_t>& values, Range allowed, const char* doc) override {
    std::vector<std::string> numbers;
    for (const std::int64_t value : values) numbers.push_back(std::to_string(value));
    line(key, "[" + join(numbers, ", ") + "]", doc, with_range("whole number or a list of them,", allowed),
         Presence::kOptional);
  }
  void weights(const char* key, std::vector<WeightedName>& values, const char* doc) override {
    const bool even = std::all_of(values.begin(), values.end(), [](const WeightedName& v) { return v.weight == 1; });
    std::vector<std::string> entries;
    for (const auto& [name, weight] : values) {
      entries.push_back(even ? format_text(name) : cat(format_text(name), ": ", format_real(weight)));
    }
    const std::string list = join(entries, ", ");
    line(key,
         !even                ? cat("{", list, "}")
         : values.size() == 1 ? list
                              : cat("[", list, "]"),
         doc, "text, a list of texts, or a map of text to a weight above 0", Presence::kOptional);
  }
  void group(const char* key, const char* doc, const Describe& describe) override { block(key, doc, describe, ""); }
  void optional_group(const char* key, bool& present, const char* doc, const Describe& describe) override {
    if (present || reference_) block(key, doc, describe, " May be left out.");
  }
  void excluded(const Describe&, const char*) override {}

 protected:
  void choice_text(const char* key, std::string& value, const std::vector<std::string>& options,
                   const char* doc) override {
    line(key, format_text(value), doc, join(options, ", "), Presence::kOptional);
  }
  void group_list(const char* key, const char* doc, const GroupList& list) override {
    if (reference_) {
      comment(cat(doc, ". A list of:"));
      out_ += cat(indent_, key, ":\n");
      entry(list.describe_prototype);
      return;
    }
    out_ += cat(indent_, key, list.count == 0 ? ": []\n" : ":\n");
    for (std::size_t i = 0; i < list.count; ++i) entry([&](Fields& fields) { list.describe(i, fields); });
  }

 private:
  void comment(const std::string& text) { out_ += cat(indent_, "# ", text, "\n"); }
  void line(const char* key, const std::string& value, const char* doc, const std::string& allowed, Presence presence) {
    const bool required = presence == Presence::kRequired;
    if (reference_) comment(cat(doc, " (", allowed, required ? "; must be given)" : ")"));
    out_ += reference_ && required ? cat(indent_, key, ":\n") : cat(indent_, key, ": ", value, "\n");
  }
  void block(const char* key, const char* doc, const Describe& describe, const char* remark) {
    if (reference_) comment(cat(doc, ".", remark));
    out_ += cat(indent_, key, ":\n");
    indent_ += "  ";
    describe(*this);
    indent_.resize(indent_.size() - 2);
  }
  // A list entry: its lines one step in, the first one behind a dash.
  void entry(const Describe& describe) {
    const std::size_t start = out_.size();
    indent_ += "    ";
    describe(*this);
    out_[start + indent_.size() - 2] = '-';
    indent_.resize(indent_.size() - 4);
  }

  bool reference_;
  std::string indent_;
  std::string out_;
};

}  // namespace

bool Range::contains(double value) const {
  return (min_open ? value > min : value >= min) && (max_open ? value < max : value <= max);
}

std::string Range::str() const {
  const double infinity = std::numeric_limits<double>::infinity();
  const bool has_min = min != -infinity, has_max = max != infinity;
  if (has_min && has_max && !min_open) return cat("from ", number(min), max_open ? " to below " : " to ", number(max));
  std::string out;
  if (has_min) out = cat(min_open ? "above " : "at least ", number(min));
  if (has_max) out += cat(out.empty() ? "" : " and ", max_open ? "below " : "at most ", number(max));
  return out;
}

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
  Reader(&root, "", places, describe);
}

std::string write_fields(const Fields::Describe& describe) {
  Writer writer(false);
  describe(writer);
  return writer.take();
}

std::string field_reference(const Fields::Describe& describe) {
  Writer writer(true);
  describe(writer);
  return writer.take();
}

}  // namespace wt
