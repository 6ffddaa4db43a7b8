#include "data/jinja/objects.h"

#include <map>

#include "core/error.h"

namespace wt::jinja {
namespace {

Value integer(std::size_t value) {
  return Value(static_cast<std::int64_t>(value));
}

Value make_range(Evaluator& evaluator, Arguments& given) {
  constexpr std::int64_t kLongest = 100000;  // as the sandbox of the environment that chat templates are written for
  const std::int64_t first = given.integer("start", 0);
  const std::optional<Value> second = given.next("stop");
  const std::int64_t step = given.integer("step", 1);
  given.done();
  if (second && !second->is_integer()) throw Failure("range: stop must be an int");
  const std::int64_t from = second ? first : 0, to = second ? second->integer() : first;
  if (step == 0) throw Failure("range: step is 0");
  Values out;
  std::int64_t i = from;
  while (step > 0 ? i < to : i > to) {
    if (out.size() == kLongest) throw Failure(cat("range: more than ", kLongest, " numbers"));
    evaluator.work().spend(4);
    out.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return Value::list(std::move(out));
}

// A dict, or pairs, and names.
Value dict_of(Evaluator& evaluator, Arguments& given) {
  Entries entries;
  if (!given.positional.empty()) {
    const Value from = given.required("mapping");
    if (from.is(Value::Kind::kDict)) {
      entries = from.entries();
    } else {
      for (const Value& pair : iterate(from, evaluator.work())) {
        if (!pair.is_list() || pair.items().size() != 2) throw Failure(cat(given.callee, ": expected a dict or pairs"));
        put(entries, pair.items()[0], pair.items()[1], evaluator.work());
      }
    }
  }
  for (const auto& [key, value] : given.named) put(entries, Value(key), value, evaluator.work());
  given.named.clear();
  given.done();
  return Value::dict(std::move(entries));
}

Value make_joiner(Evaluator&, Arguments& given) {
  const std::string separator = given.text("sep", ", ");
  given.done();
  return Value(std::make_shared<Function>(
      "joiner", [separator, used = std::make_shared<bool>(false)](Evaluator&, Arguments& arguments) {
        arguments.done();
        return Value(std::exchange(*used, true) ? separator : "");
      }));
}

Value write_time(Evaluator& evaluator, Arguments& given) {
  const std::string format = given.text("format");
  given.done();
  const std::time_t now = evaluator.now();
  std::tm parts{};
  if (localtime_r(&now, &parts) == nullptr) throw Failure("strftime_now: there is no time");
  if (format.empty() || format.size() > 200) throw Failure("strftime_now: expected a format of 1 to 200 characters");
  char text[1024];
  const std::size_t length = std::strftime(text, sizeof(text), format.c_str(), &parts);
  return Value(std::string(text, length));
}

}  // namespace

Namespace::Namespace(const Variables& variables) {
  for (const auto& [key, value] : variables) set(key, value);
}

Value Namespace::attribute(const std::string& wanted) const {
  for (const auto& [key, value] : variables_) {
    if (key == wanted) return value;
  }
  return Object::attribute(wanted);
}

void Namespace::set(const std::string& key, Value value) {
  if (key.starts_with('_')) throw Failure(cat("a namespace's attributes must not begin with _, as ", key, " does"));
  for (auto& [known, old] : variables_) {
    if (known == key) {
      old = std::move(value);
      return;
    }
  }
  variables_.emplace_back(key, std::move(value));
}

Loop::Loop(Values items) : items_(std::move(items)), depth_(Value::list(items_).depth()) {}

Value Loop::attribute(const std::string& wanted) const {
  const std::size_t size = items_.size();
  if (wanted == "index") return integer(index_ + 1);
  if (wanted == "index0") return integer(index_);
  if (wanted == "revindex") return integer(size - index_);
  if (wanted == "revindex0") return integer(size - index_ - 1);
  if (wanted == "first") return Value(index_ == 0);
  if (wanted == "last") return Value(index_ + 1 == size);
  if (wanted == "length") return integer(size);
  if (wanted == "depth") return integer(1);
  if (wanted == "depth0") return integer(0);
  if (wanted == "previtem") return index_ > 0 ? items_[index_ - 1] : Value::undefined("there is no previous item");
  if (wanted == "nextitem") return index_ + 1 < size ? items_[index_ + 1] : Value::undefined("there is no next item");
  if (wanted == "cycle") {
    return Value(std::make_shared<Function>("loop.cycle", [index = index_](Evaluator&, Arguments& given) {
      if (given.positional.empty()) throw Failure("loop.cycle: nothing to go through");
      return given.positional[index % given.positional.size()];
    }));
  }
  return Object::attribute(wanted);
}

Value MacroFunction::call(Evaluator& evaluator, Arguments& given) const {
  return Value(evaluator.run_macro(macro_, scope_, given));
}

Value global_function(const std::string& name) {
  static const std::map<std::string, Function::Body> functions{
      {"range", make_range},
      {"dict", dict_of},
      {"namespace", [](Evaluator& evaluator,
                       Arguments& given) { return evaluator.new_namespace(variables_of(dict_of(evaluator, given))); }},
      {"joiner", make_joiner},
      {"raise_exception",
       [](Evaluator& evaluator, Arguments& given) -> Value {
         throw Failure(cat("the template refuses this chat: ", to_text(given.required("message"), evaluator.work())));
       }},
      {"strftime_now", write_time}};
  const auto found = functions.find(name);
  if (found == functions.end()) return Value::undefined(cat("'", name, "' is undefined"));
  return Value(std::make_shared<Function>(name, found->second));
}

}  // namespace wt::jinja
