#include "train/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "core/error.h"
#include "core/files.h"

namespace wt {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Builds the tree from yaml-cpp's events. Its own Node would not do: it keeps the first of two equal keys and forgets
// the other.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(const std::string& text, std::string name, bool has_lines)
      : text_(text), name_(std::move(name)), has_lines_(has_lines) {}

  YamlNode take_root() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { add(mark, "", anchor, YamlNode::Kind::kNull); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { fail(mark, "aliases (*name) are not supported"); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    if (tag == "!") check_closed(mark);
    if (expects_key()) {
      take_key(mark, value);
      return;
    }
    YamlNode& node = add(mark, tag, anchor, YamlNode::Kind::kScalar);
    node.text = value;
    node.quoted = tag == "!";
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open_.push_back(&add(mark, tag, anchor, YamlNode::Kind::kList));
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open_.push_back(&add(mark, tag, anchor, YamlNode::Kind::kMap));
    keys_.emplace_back();
  }
  void OnMapEnd() override {
    open_.pop_back();
    keys_.pop_back();
  }

 private:
  [[noreturn]] void fail(const YAML::Mark& mark, const std::string& what) const {
    throw UsageError(cat(where(mark), ": ", what));
  }
  // yaml-cpp takes a quote that is never closed for one that ends with the file.
  void check_closed(const YAML::Mark& mark) const {
    const auto begin = static_cast<std::size_t>(mark.pos);
    const char quote = begin < text_.size() ? text_[begin] : ' ';
    if (quote != '"' && quote != '\'') return;
    for (std::size_t at = begin + 1; at < text_.size(); ++at) {
      if (text_[at] == quote && (quote == '"' || at + 1 == text_.size() || text_[at + 1] != quote)) return;
      if (text_[at] == (quote == '"' ? '\\' : quote)) ++at;
    }
    fail(mark, "a quote is never closed");
  }
  std::string where(const YAML::Mark& mark) const { return has_lines_ ? cat(name_, ":", mark.line + 1) : name_; }
  bool expects_key() const {
    return !open_.empty() && open_.back()->kind == YamlNode::Kind::kMap && !keys_.back().pending;
  }
  void take_key(const YAML::Mark& mark, const std::string& key) {
    if (key == "<<") fail(mark, "merge keys (<<) are not supported");
    if (open_.back()->find(key) != nullptr) {
      fail(mark, cat("the key ", key, " stands twice; the first is at ", open_.back()->find(key)->where));
    }
    keys_.back() = {true, key, where(mark)};
  }
  YamlNode& add(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YamlNode::Kind kind) {
    if (anchor != 0) fail(mark, "anchors (&name) are not supported");
    if (!tag.empty() && tag != "?" && tag != "!") fail(mark, cat("tags (", tag, ") are not supported"));
    if (expects_key() && kind == YamlNode::Kind::kNull) fail(mark, "a key is missing (or a bracket is open)");
    if (expects_key()) fail(mark, "a key must be plain text (or a bracket is open)");
    YamlNode node;
    node.kind = kind;
    node.where = where(mark);
    if (open_.empty()) return root_ = std::move(node);
    YamlNode& parent = *open_.back();
    if (parent.kind == YamlNode::Kind::kList) return parent.items.emplace_back(std::move(node));
    // A value stands where its key does: an empty value has no place of its own, a block starts a line later.
    node.where = keys_.back().where;
    keys_.back().pending = false;
    return parent.fields.emplace_back(YamlField{keys_.back().key, std::move(node)}).node;
  }

  struct Key {
    bool pending = false;
    std::string key, where;
  };
  const std::string& text_;
  std::string name_;
  bool has_lines_;  // places are lines of a file
  YamlNode root_;
  // The lists and maps being read, outermost first. Pointers stay valid: only the innermost one grows.
  std::vector<YamlNode*> open_;
  std::vector<Key> keys_;  // one for each open map
};

// The sign, digits, fraction and exponent of a number; nothing for any other text.
bool is_number(std::string_view text) {
  std::size_t at = 0;
  const auto digits = [&] {
    const std::size_t first = at;
    while (at < text.size() && is_digit(text[at])) ++at;
    return at - first;
  };
  if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
  const std::size_t whole_begin = at;
  const std::size_t whole = digits();
  if (whole > 1 && text[whole_begin] == '0') return false;
  std::size_t fraction = 0;
  if (at < text.size() && text[at] == '.') {
    ++at;
    fraction = digits();
  }
  if (whole + fraction == 0) return false;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    if (digits() == 0) return false;
  }
  return at == text.size();
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

YamlNode parse(const std::string& text, const std::string& name, bool has_lines) {
  TreeBuilder builder(text, name, has_lines);
  const auto at_line = [&](int line) { return has_lines ? cat(name, ":", line + 1) : name; };
  if (const std::size_t zero = text.find('\0'); zero != std::string::npos) {
    throw UsageError(
        cat(at_line(static_cast<int>(std::count(text.begin(), text.begin() + static_cast<long>(zero), '\n'))),
            ": a NUL byte; this is no text file"));
  }
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    if (parser.HandleNextDocument(builder)) {
      TreeBuilder rest(text, name, has_lines);
      if (parser.HandleNextDocument(rest)) {
        throw UsageError(cat(rest.take_root().where, ": a second document; only one is read"));
      }
    }
  } catch (const YAML::Exception& error) {
    throw UsageError(cat(at_line(error.mark.line), ": not YAML: ", error.msg));
  }
  YamlNode root = builder.take_root();
  if (root.where.empty()) root.where = at_line(0);
  return root;
}

// What an override says, at the place `where`.
YamlNode typed_value(const std::string& typed, const std::string& where) {
  YamlNode value;
  try {
    if (!typed.empty()) value = parse(typed, where, false);
  } catch (const UsageError& error) {
    value.problem = std::string(error.what()).substr(where.size() + 2);
  }
  if (typed.empty() || !value.problem.empty()) {
    value.kind = YamlNode::Kind::kScalar;
    value.text = typed;
    value.quoted = true;
    value.where = where;
  }
  value.typed = typed;
  return value;
}

bool same_value(const YamlNode& a, const YamlNode& b) {
  const auto same_field = [](const YamlField& x, const YamlField& y) {
    return x.name == y.name && same_value(x.node, y.node);
  };
  return a.kind == b.kind && a.text == b.text && a.quoted == b.quoted &&
         std::equal(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(), same_value) &&
         std::equal(a.fields.begin(), a.fields.end(), b.fields.begin(), b.fields.end(), same_field);
}

YamlNode* find_field(YamlNode& node, const std::string& name) {
  return const_cast<YamlNode*>(std::as_const(node).find(name));
}

}  // namespace

const YamlNode* YamlNode::find(std::string_view key) const {
  for (const auto& [name, node] : fields) {
    if (name == key) return &node;
  }
  return nullptr;
}

std::string YamlNode::describe() const {
  switch (kind) {
    case Kind::kNull:
      return "empty";
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "a group of keys";
    case Kind::kScalar:
      break;
  }
  std::string shown = text.size() > 60 ? text.substr(0, 57) + "..." : text;
  std::replace_if(
      shown.begin(), shown.end(), [](unsigned char c) { return c < 32; }, ' ');
  return "'" + shown + "'";
}

YamlNode parse_yaml(const std::string& text, const std::string& name) {
  return parse(text, name, true);
}

YamlNode read_yaml(const std::string& path) {
  std::string text;
  try {
    text = read_file(path);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  return parse_yaml(text, path);
}

void apply_override(YamlNode& root, const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  const std::string where =
      cat("command line: '", assignment.size() > 80 ? assignment.substr(0, 77) + "..." : assignment, "'");
  const auto fail = [&](const auto&... what) { throw UsageError(cat(where, ": ", what...)); };
  if (equals == std::string::npos || equals == 0) fail("expected key=value, for example train.batch_size=8");

  YamlNode* at = &root;
  for (const std::string& key : split(assignment.substr(0, equals), '.')) {
    if (key.empty()) fail("a path has names with single dots between");
    if (at->kind == YamlNode::Kind::kList) {
      std::size_t index = 0;
      const auto [end, problem] = std::from_chars(key.data(), key.data() + key.size(), index);
      if (problem != std::errc() || end != key.data() + key.size() || index >= at->items.size()) {
        fail("'", key, "' is no entry of a list with ", at->items.size(), " entries (they are counted from 0)");
      }
      at = &at->items[index];
      continue;
    }
    if (at->kind == YamlNode::Kind::kNull) at->kind = YamlNode::Kind::kMap;
    if (at->kind != YamlNode::Kind::kMap) fail("there is no key '", key, "' in ", at->describe());
    const auto found = std::find_if(at->fields.begin(), at->fields.end(), [&](const auto& f) { return f.name == key; });
    if (found != at->fields.end()) {
      at = &found->node;
    } else {
      YamlNode fresh;
      fresh.where = where;
      at = &at->fields.emplace_back(YamlField{key, std::move(fresh)}).node;
    }
  }
  *at = typed_value(assignment.substr(equals + 1), where);
}

void carry_changes(const YamlNode& before, const YamlNode& after, YamlNode& tree) {
  using Kind = YamlNode::Kind;
  if (same_value(before, after)) return;
  if (before.kind != after.kind || tree.kind != after.kind || after.kind == Kind::kScalar) {
    tree = after;
  } else if (after.kind == Kind::kMap) {
    for (const YamlField& gone : before.fields) {
      if (after.find(gone.name) != nullptr) continue;
      std::erase_if(tree.fields, [&](const YamlField& field) { return field.name == gone.name; });
    }
    for (const YamlField& field : after.fields) {
      const YamlNode* const earlier = before.find(field.name);
      YamlNode* const here = find_field(tree, field.name);
      if (earlier != nullptr && here != nullptr) {
        carry_changes(*earlier, field.node, *here);
      } else if (here != nullptr) {
        *here = field.node;
      } else if (earlier == nullptr || !same_value(*earlier, field.node)) {
        tree.fields.push_back(field);
      }
    }
  } else {
    // Entries go by their number: what was appended or taken off is at the end.
    const std::size_t common = std::min({before.items.size(), after.items.size(), tree.items.size()});
    const bool plain = std::none_of(after.items.begin(), after.items.end(),
                                    [](const YamlNode& item) { return item.kind == Kind::kMap; });
    if (plain) {
      tree = after;
      return;
    }
    for (std::size_t i = 0; i < common; ++i) carry_changes(before.items[i], after.items[i], tree.items[i]);
    if (before.items.size() != after.items.size()) {
      tree.items.resize(std::min(common, tree.items.size()));
      for (std::size_t i = common; i < after.items.size(); ++i) tree.items.push_back(after.items[i]);
    }
  }
}

std::optional<std::int64_t> yaml_integer(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::kScalar || node.quoted || !is_number(node.text)) return std::nullopt;
  std::string_view text = node.text;
  if (text.front() == '+') text.remove_prefix(1);
  std::int64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem == std::errc() && end == text.data() + text.size()) return value;
  // Written with a point or an exponent: taken where a double holds it exactly.
  const std::optional<double> real = yaml_real(node);
  if (!real || *real != std::floor(*real) || std::abs(*real) > 0x1p53) return std::nullopt;
  return static_cast<std::int64_t>(*real);
}

std::optional<double> yaml_real(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::kScalar || node.quoted || !is_number(node.text)) return std::nullopt;
  std::string_view text = node.text;
  if (text.front() == '+') text.remove_prefix(1);
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<bool> yaml_boolean(const YamlNode& node) {
  if (node.kind != YamlNode::Kind::kScalar || node.quoted) return std::nullopt;
  if (node.text == "true") return true;
  if (node.text == "false") return false;
  return std::nullopt;
}

std::string format_real(double value) {
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  std::string text(buffer, end);
  // YAML 1.1 readers take 1e-05 for text: a number with an exponent needs a point there.
  const std::size_t exponent = text.find('e');
  if (text.find('.') == std::string::npos) {
    text.insert(exponent == std::string::npos ? text.size() : exponent, ".0");
  }
  return text;
}

std::string format_text(std::string_view value) {
  const auto plain_letter = [](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '/' || c == '.' ||
           c == '-';
  };
  YamlNode as_plain;
  as_plain.kind = YamlNode::Kind::kScalar;
  as_plain.text = value;
  constexpr std::string_view kReserved[] = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
  std::string lower(value);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  const bool reserved = std::find(std::begin(kReserved), std::end(kReserved), lower) != std::end(kReserved);
  if (!value.empty() && !reserved && value[0] != '-' && value[0] != '.' && !is_digit(value[0]) &&
      std::all_of(value.begin(), value.end(), plain_letter)) {
    return std::string(value);
  }
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 32 || c == 127) {
      out += "\\x";
      out += kHex[(c >> 4) & 15];
      out += kHex[c & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace wt
