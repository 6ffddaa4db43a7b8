#include "core/json_fields.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace wt {
namespace {

class Reader : public Fields {
 public:
  explicit Reader(const JsonObject& object) : object_(object) {}
  void refuse_other_keys() const { object_.refuse_other_keys(known_); }

  void integer(const char* key, std::int64_t& value, Range allowed, const char*, Presence presence) override {
    if (!find(key, presence)) return;
    const std::int64_t read = object_.integer(key, std::numeric_limits<std::int64_t>::min());
    if (!allowed.contains(static_cast<double>(read))) object_.wrong(key, allowed.str("a whole number"));
    value = read;
  }
  void real(const char* key, double& value, Range allowed, const char*, Presence presence) override {
    if (!find(key, presence)) return;
    const double read = object_.real(key);
    if (!allowed.contains(read)) object_.wrong(key, allowed.str("a number"));
    value = read;
  }
  void boolean(const char* key, bool& value, const char*) override {
    if (find(key)) value = object_.boolean(key);
  }
  void text(const char* key, std::string& value, const char*, Presence presence) override {
    if (find(key, presence)) value = object_.text(key);
  }
  void texts(const char* key, std::vector<std::string>& values, const char*) override {
    if (find(key)) values = object_.texts(key);
  }
  void integers(const char* key, std::vector<std::int64_t>& values, Range allowed, const char*) override {
    if (!find(key)) return;
    values = object_.integers(key, std::numeric_limits<std::int64_t>::min());
    for (const std::int64_t value : values) {
      if (!allowed.contains(static_cast<double>(value))) object_.wrong(key, allowed.str("whole numbers"));
    }
  }
  void weights(const char* key, std::vector<WeightedName>& values, const char*) override {
    if (!find(key)) return;
    const JsonObject object = object_.object(key);
    values.clear();
    for (const std::string& name : object.keys()) values.push_back({name, object.positive(name)});
  }
  void group(const char* key, const char*, const Describe& describe) override {
    if (find(key)) read_json_fields(object_.object(key), describe);
  }
  void optional_group(const char* key, bool& present, const char*, const Describe& describe) override {
    present = find(key);
    if (present) read_json_fields(object_.object(key), describe);
  }
  void excluded(const Describe&, const char*) override {}
  void retired(const Describe& describe) override { describe(*this); }

 protected:
  void choice_text(const char* key, std::string& value, const std::vector<std::string>& options, const char*) override {
    if (!find(key)) return;
    object_.must_be_one_of(key, options, "");
    value = object_.text(key);
  }
  void group_list(const char* key, const char*, const GroupList& list) override {
    if (!find(key)) return;
    const std::vector<JsonObject> objects = object_.objects(key);
    list.resize(objects.size());
    for (std::size_t i = 0; i < objects.size(); ++i) {
      read_json_fields(objects[i], [&](Fields& fields) { list.describe(i, fields); });
    }
  }

 private:
  bool find(const char* key, Presence presence = Presence::kOptional) {
    known_.emplace_back(key);
    if (object_.has(key)) return true;
    if (presence == Presence::kRequired) object_.wrong(key, "a value");
    return false;
  }

  const JsonObject& object_;
  std::vector<std::string> known_;
};

class Writer : public Fields {
 public:
  nlohmann::ordered_json take() { return std::move(out_); }

  void integer(const char* key, std::int64_t& value, Range, const char*, Presence) override { out_[key] = value; }
  void real(const char* key, double& value, Range, const char*, Presence) override { out_[key] = value; }
  void boolean(const char* key, bool& value, const char*) override { out_[key] = value; }
  void text(const char* key, std::string& value, const char*, Presence) override { out_[key] = value; }
  void texts(const char* key, std::vector<std::string>& values, const char*) override {
    if (!values.empty()) out_[key] = values;
  }
  void integers(const char* key, std::vector<std::int64_t>& values, Range, const char*) override { out_[key] = values; }
  void weights(const char* key, std::vector<WeightedName>& values, const char*) override {
    out_[key] = nlohmann::ordered_json::object();
    for (const WeightedName& value : values) out_[key][value.name] = value.weight;
  }
  void group(const char* key, const char*, const Describe& describe) override {
    out_[key] = write_json_fields(describe);
  }
  void optional_group(const char* key, bool& present, const char*, const Describe& describe) override {
    if (present) out_[key] = write_json_fields(describe);
  }
  void excluded(const Describe&, const char*) override {}
  void retired(const Describe&) override {}

 protected:
  void choice_text(const char* key, std::string& value, const std::vector<std::string>&, const char*) override {
    out_[key] = value;
  }
  void group_list(const char* key, const char*, const GroupList& list) override {
    for (std::size_t i = 0; i < list.count; ++i) {
      out_[key].push_back(write_json_fields([&](Fields& fields) { list.describe(i, fields); }));
    }
  }

 private:
  nlohmann::ordered_json out_ = nlohmann::ordered_json::object();
};

}  // namespace

void read_json_fields(const JsonObject& object, const Fields::Describe& describe) {
  Reader reader(object);
  describe(reader);
  reader.refuse_other_keys();
}

nlohmann::ordered_json write_json_fields(const Fields::Describe& describe) {
  Writer writer;
  describe(writer);
  return writer.take();
}

}  // namespace wt
