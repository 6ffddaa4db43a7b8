// Settings out of their structs: as YAML, as the reference, as a list.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "core/error.h"
#include "train/fields.h"

namespace wt {
namespace {

std::string joined(const std::vector<std::string>& words, const char* between) {
  return fmt::format("{}", fmt::join(words, between));
}

// Every key with its value as YAML.
class Formatter : public Fields {
 public:
  void integer(const char* key, std::int64_t& value, Range allowed, const char* doc, Presence presence) override {
    line(key, std::to_string(value), doc, allowed.str("whole number"), presence);
  }
  void real(const char* key, double& value, Range allowed, const char* doc, Presence presence) override {
    line(key, format_real(value), doc, allowed.str("number"), presence);
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
    line(key, "[" + joined(quoted, ", ") + "]", doc, "text or a list of texts", Presence::kOptional);
  }
  void integers(const char* key, std::vector<std::int64_t>& values, Range allowed, const char* doc) override {
    std::vector<std::string> numbers;
    for (const std::int64_t value : values) numbers.push_back(std::to_string(value));
    line(key, "[" + joined(numbers, ", ") + "]", doc, allowed.str("whole number or a list of them,"),
         Presence::kOptional);
  }
  void weights(const char* key, std::vector<WeightedName>& values, const char* doc) override {
    const bool even = std::all_of(values.begin(), values.end(), [](const WeightedName& v) { return v.weight == 1; });
    std::vector<std::string> entries;
    for (const auto& [name, weight] : values) {
      entries.push_back(even ? format_text(name) : cat(format_text(name), ": ", format_real(weight)));
    }
    const std::string list = joined(entries, ", ");
    line(key,
         !even                ? cat("{", list, "}")
         : values.size() == 1 ? list
                              : cat("[", list, "]"),
         doc, "text, a list of texts, or a map of text to a weight above 0", Presence::kOptional);
  }
  void retired(const Describe&) override {}

 protected:
  void choice_text(const char* key, std::string& value, const std::vector<std::string>& options,
                   const char* doc) override {
    line(key, format_text(value), doc, joined(options, ", "), Presence::kOptional);
  }
  virtual void line(const char* key, const std::string& value, const char* doc, const std::string& allowed,
                    Presence presence) = 0;
};

// Paths and values. With `possible`, all that can be: groups too, optional ones, and one entry of each list of groups.
class Lister : public Formatter {
 public:
  explicit Lister(bool possible) : possible_(possible) {}
  std::vector<FieldValue> take() { return std::move(out_); }

  void group(const char* key, const char*, const Describe& describe) override { descend(key, describe); }
  void optional_group(const char* key, bool& present, const char*, const Describe& describe) override {
    if (present || possible_) descend(key, describe);
  }
  void excluded(const Describe& describe, const char*) override {
    if (possible_) describe(*this);
  }

 protected:
  void line(const char* key, const std::string& value, const char*, const std::string&, Presence) override {
    out_.emplace_back(prefix_ + key, value);
  }
  void group_list(const char* key, const char*, const GroupList& list) override {
    descend(key, [&](Fields&) {
      if (possible_) descend("0", list.describe_prototype);
      for (std::size_t i = 0; i < list.count && !possible_; ++i) {
        descend(std::to_string(i), [&](Fields& fields) { list.describe(i, fields); });
      }
    });
  }

 private:
  void descend(const std::string& key, const Describe& describe) {
    const std::size_t before = prefix_.size();
    if (possible_) out_.emplace_back(prefix_ + key, "");
    prefix_ += key + ".";
    describe(*this);
    prefix_.resize(before);
  }

  bool possible_;
  std::string prefix_;
  std::vector<FieldValue> out_;
};

// Writes values, or the reference: the same lines with comments and without what cannot have a default.
class Writer : public Formatter {
 public:
  explicit Writer(bool reference) : reference_(reference) {}
  std::string take() { return std::move(out_); }

  void group(const char* key, const char* doc, const Describe& describe) override { block(key, doc, describe, ""); }
  void optional_group(const char* key, bool& present, const char* doc, const Describe& describe) override {
    if (present || reference_) block(key, doc, describe, " May be left out.");
  }
  void excluded(const Describe&, const char*) override {}

 protected:
  void group_list(const char* key, const char* doc, const GroupList& list) override {
    if (reference_) {
      comment(cat(doc, ". A list of:"));
      out_ += cat(indent_, key, ":\n");
      entry(list.describe_prototype);
      return;
    }
    out_ += cat(indent_, key, list.count == 0 ? ": []\n" : ":\n");
    for (const FieldValue& value : listed(list.describe_prototype)) inherited_.insert(value);
    for (std::size_t i = 0; i < list.count; ++i) entry([&](Fields& fields) { list.describe(i, fields); });
    inherited_.clear();
  }
  void line(const char* key, const std::string& value, const char* doc, const std::string& allowed,
            Presence presence) override {
    const bool required = presence == Presence::kRequired;
    if (const auto found = inherited_.find(key); !required && found != inherited_.end() && found->second == value) {
      return;
    }
    if (reference_) comment(cat(doc, " (", allowed, required ? "; must be given)" : ")"));
    out_ += reference_ && required ? cat(indent_, key, ":\n") : cat(indent_, key, ": ", value, "\n");
  }

 private:
  static std::vector<FieldValue> listed(const Describe& describe) {
    Lister lister(false);
    describe(lister);
    return lister.take();
  }
  void comment(const std::string& text) { out_ += cat(indent_, "# ", text, "\n"); }
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
  std::map<std::string, std::string> inherited_;  // of the list whose entries are being written
};

}  // namespace

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

std::vector<FieldValue> list_fields(const Fields::Describe& describe) {
  Lister lister(false);
  describe(lister);
  return lister.take();
}

std::vector<std::string> field_paths(const Fields::Describe& describe) {
  Lister lister(true);
  describe(lister);
  std::vector<std::string> paths;
  for (auto& [path, value] : lister.take()) paths.push_back(path);
  return paths;
}

}  // namespace wt
