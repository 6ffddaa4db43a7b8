// The values of a template: Python's None, bool, int (64 bits), float, str, list, tuple and dict (whose keys are none
// of the last three, in the order they were put in), what is undefined, and objects that can be called or asked for
// attributes. Values do not change once made; copies share what they hold.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "data/jinja/work.h"

namespace wt::jinja {

class Evaluator;
class Object;
class Value;
struct Arguments;

using Values = std::vector<Value>;
using Entries = std::vector<std::pair<Value, Value>>;          // of a dict
using Variables = std::vector<std::pair<std::string, Value>>;  // by name

// Lists within lists are limited, so that going through them, and taking them away, cannot exhaust the stack.
constexpr int kDeepestValue = 100;

class Value {
 public:
  enum class Kind : std::uint8_t { kNone, kUndefined, kBool, kInt, kFloat, kText, kList, kTuple, kDict, kObject };

  Value() = default;  // None
  Value(bool value) : data_(value) {}
  Value(std::int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(std::string text) : data_(std::make_shared<const std::string>(std::move(text))) {}
  Value(const char* text) : Value(std::string(text)) {}
  Value(std::shared_ptr<Object> object);
  // What a name that nothing has stands for. `why`: the error where more is done with it than asking for it.
  static Value undefined(std::string why);
  // A text that is HTML already, as "safe" and "escape" make it: another text joined to it by + is escaped.
  static Value markup(std::string text);
  // These throw Failure where the result would be deeper than kDeepestValue.
  static Value list(Values items, Kind kind = Kind::kList);
  static Value tuple(Values items) { return list(std::move(items), Kind::kTuple); }
  static Value dict(Entries entries);

  Kind kind() const;
  bool is(Kind wanted) const { return kind() == wanted; }
  bool is_undefined() const { return is(Kind::kUndefined); }
  bool is_text() const { return is(Kind::kText); }
  bool is_markup() const { return markup_; }
  bool is_list() const { return is(Kind::kList) || is(Kind::kTuple); }
  bool is_integer() const { return is(Kind::kInt) || is(Kind::kBool); }  // to Python, True is 1
  bool is_number() const { return is_integer() || is(Kind::kFloat); }

  // Each for the kinds that have it.
  const std::string& text() const { return *std::get<std::shared_ptr<const std::string>>(data_); }
  std::int64_t integer() const;
  double number() const;
  const Values& items() const;
  const Entries& entries() const;
  const std::shared_ptr<Object>& object() const { return std::get<std::shared_ptr<Object>>(data_); }
  const std::string& why_undefined() const;

  const Value* find(std::string_view key) const;  // in a dict; nullptr where there is none
  const Value* find(const Value& key) const;
  bool truthy() const;
  const char* type_name() const;  // Python's
  int depth() const;

 private:
  struct Undefined {
    std::shared_ptr<const std::string> why;
  };
  struct List {
    Values items;
    Kind kind;
    int depth;
  };
  struct Dict {
    Entries entries;
    int depth;
  };
  std::variant<std::monostate, Undefined, bool, std::int64_t, double, std::shared_ptr<const std::string>,
               std::shared_ptr<const List>, std::shared_ptr<const Dict>, std::shared_ptr<Object>>
      data_;
  bool markup_ = false;
};

// Functions, macros, methods, namespaces and a loop's `loop`.
class Object {
 public:
  virtual ~Object() = default;
  virtual std::string name() const = 0;
  // Undefined where there is none.
  virtual Value attribute(const std::string& name) const;
  // Throws Failure where it cannot be called.
  virtual Value call(Evaluator& evaluator, Arguments& arguments) const;
  virtual bool callable() const { return false; }
  virtual bool iterable() const { return false; }
  // What `for` goes through; nullptr where there is nothing.
  virtual const Values* iterated() const { return nullptr; }
  virtual int depth() const { return 0; }
};

// Puts a value under a key, in place of one that is there. Throws Failure for keys that a dict cannot have.
void put(Entries& entries, const Value& key, Value value, Work& work);
// A dict whose keys are texts, as variables. Throws Failure where one is not.
Variables variables_of(const Value& dict);

// Throws Failure naming what is undefined.
void require_defined(const Value& value);

// Python's ==; values of other kinds differ, 1 == 1.0 == True.
bool equal(const Value& a, const Value& b, Work& work);
// Python's < for numbers, texts and lists; <0, 0, >0. Throws Failure for kinds that have no order.
int compare(const Value& a, const Value& b, Work& work);
// `part in whole`: a text in a text, an element of a list, a key of a dict.
bool contains(const Value& whole, const Value& part, Work& work);

// str(): what {{ }} writes; "" for what is undefined.
std::string to_text(const Value& value, Work& work);
// repr(): the same, but texts are quoted, as they are inside lists and dicts.
std::string to_repr(const Value& value, Work& work);
std::string float_repr(double value);

// What `for` goes through: elements, keys, characters; none for what is undefined. Throws Failure for what has none.
Values iterate(const Value& value, Work& work);

}  // namespace wt::jinja
