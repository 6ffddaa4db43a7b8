#include <algorithm>

#include "core/error.h"
#include "data/jinja/filters.h"
#include "data/jinja/objects.h"
#include "data/jinja/operators.h"
#include "data/jinja/tests.h"
#include "data/jinja/text.h"

namespace wt::jinja {
namespace {

using Kind = Value::Kind;

Value generator(Values items) {
  return Value(std::shared_ptr<Object>(std::make_shared<Generator>(std::move(items))));
}

// An attribute by a name with dots and numbers: "function.name", "0".
Value attribute_by(const Value& value, const Value& path, Work& work) {
  if (path.is_integer()) return item_of(value, path, work);
  if (!path.is_text()) throw Failure(cat("an attribute's name must be a str, not ", path.type_name()));
  Value at = value;
  const std::string dot = ".";
  for (const std::string& part : split(path.text(), &dot, -1)) {
    const bool number = !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string::npos;
    at = item_of(at, number ? Value(std::int64_t{std::stol(part)}) : Value(part), work);
  }
  return at;
}

Value without_case(const Value& value, bool case_sensitive, Work& work) {
  if (case_sensitive || !value.is_text()) return value;
  work.spend_text(5 * value.text().size());
  return Value(lower(value.text()));
}

// What sort, min, max and unique look at.
Value key_of(const Value& value, const Value& attribute, bool case_sensitive, Work& work) {
  return without_case(attribute.is(Kind::kNone) ? value : attribute_by(value, attribute, work), case_sensitive, work);
}

Value length_of(const Value& value, Arguments& given, Evaluator& evaluator) {
  given.done();
  std::size_t size = 0;
  if (value.is_text()) {
    evaluator.work().spend_text(value.text().size());
    size = length(value.text());
  } else if (value.is_list()) {
    size = value.items().size();
  } else if (value.is(Kind::kDict)) {
    size = value.entries().size();
  } else if (value.is(Kind::kObject)) {
    throw Failure(cat(value.object()->name(), " has no length"));
  } else if (!value.is_undefined()) {
    throw Failure(cat("a ", value.type_name(), " has no length"));
  }
  return Value(static_cast<std::int64_t>(size));
}

Value first(const Value& value, Arguments& given, Evaluator& evaluator) {
  given.done();
  const Values items = iterate(value, evaluator.work());
  return items.empty() ? Value::undefined("there is no first item, the sequence is empty") : items.front();
}

Value last(const Value& value, Arguments& given, Evaluator& evaluator) {
  given.done();
  const Values items = iterate(value, evaluator.work());
  return items.empty() ? Value::undefined("there is no last item, the sequence is empty") : items.back();
}

Value joined(const Value& value, Arguments& given, Evaluator& evaluator) {
  const std::string separator = to_text(given.next("d", Value("")), evaluator.work());
  const Value attribute = given.next("attribute", Value());
  given.done();
  std::string out;
  bool begins = true;
  for (const Value& item : iterate(value, evaluator.work())) {
    evaluator.work().spend_text(separator.size());
    if (!begins) out += separator;
    begins = false;
    out +=
        to_text(attribute.is(Kind::kNone) ? item : attribute_by(item, attribute, evaluator.work()), evaluator.work());
  }
  return Value(std::move(out));
}

Value listed(const Value& value, Arguments& given, Evaluator& evaluator) {
  given.done();
  return Value::list(iterate(value, evaluator.work()));
}

Value reversed(const Value& value, Arguments& given, Evaluator& evaluator) {
  given.done();
  Values items = iterate(value, evaluator.work());
  std::reverse(items.begin(), items.end());
  if (!value.is_text()) return generator(std::move(items));
  std::string out;
  for (const Value& item : items) out += item.text();
  return Value(std::move(out));
}

Value entries_of(const Value& value, Arguments& given, Evaluator& evaluator) {
  given.done();
  if (value.is_undefined()) return generator({});
  if (!value.is(Kind::kDict)) throw Failure(cat("items: expected a dict, not ", value.type_name()));
  evaluator.work().spend(8 * value.entries().size());
  Values out;
  for (const auto& [key, item] : value.entries()) out.push_back(Value::tuple({key, item}));
  return generator(std::move(out));
}

// Sorted by keys that are computed once each.
Values sorted(const Values& items, const Values& keys, bool backwards, Work& work) {
  std::vector<std::size_t> order(items.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return backwards ? compare(keys[b], keys[a], work) < 0 : compare(keys[a], keys[b], work) < 0;
  });
  Values out;
  for (const std::size_t i : order) out.push_back(items[i]);
  return out;
}

Value sort(const Value& value, Arguments& given, Evaluator& evaluator) {
  const bool backwards = given.flag("reverse", false), case_sensitive = given.flag("case_sensitive", false);
  const Value attribute = given.next("attribute", Value());
  given.done();
  Work& work = evaluator.work();
  Values items = iterate(value, work), keys;
  const std::string comma = ",";
  for (const Value& item : items) {
    if (!attribute.is_text()) {
      keys.push_back(key_of(item, attribute, case_sensitive, work));
      continue;
    }
    Values parts;
    for (const std::string& name : split(attribute.text(), &comma, -1)) {
      parts.push_back(key_of(item, Value(name), case_sensitive, work));
    }
    keys.push_back(Value::list(std::move(parts)));
  }
  return Value::list(sorted(items, keys, backwards, work));
}

Value dict_sorted(const Value& value, Arguments& given, Evaluator& evaluator) {
  const bool case_sensitive = given.flag("case_sensitive", false);
  const std::string by = given.text("by", "key");
  const bool backwards = given.flag("reverse", false);
  given.done();
  if (by != "key" && by != "value") throw Failure("dictsort: by must be key or value");
  require_defined(value);
  if (!value.is(Kind::kDict)) throw Failure(cat("dictsort: expected a dict, not ", value.type_name()));
  Work& work = evaluator.work();
  work.spend(8 * value.entries().size());
  Values items, keys;
  for (const auto& [key, item] : value.entries()) {
    items.push_back(Value::tuple({key, item}));
    keys.push_back(without_case(by == "key" ? key : item, case_sensitive, work));
  }
  return Value::list(sorted(items, keys, backwards, work));
}

template <bool greatest>
Value extreme(const Value& value, Arguments& given, Evaluator& evaluator) {
  const bool case_sensitive = given.flag("case_sensitive", false);
  const Value attribute = given.next("attribute", Value());
  given.done();
  Work& work = evaluator.work();
  const Values items = iterate(value, work);
  if (items.empty()) return Value::undefined("there is no least or greatest item, the sequence is empty");
  std::size_t best = 0;
  Value best_key = key_of(items[0], attribute, case_sensitive, work);
  for (std::size_t i = 1; i < items.size(); ++i) {
    Value key = key_of(items[i], attribute, case_sensitive, work);
    const int order = compare(key, best_key, work);
    if (greatest ? order <= 0 : order >= 0) continue;
    best = i;
    best_key = std::move(key);
  }
  return items[best];
}

Value unique(const Value& value, Arguments& given, Evaluator& evaluator) {
  const bool case_sensitive = given.flag("case_sensitive", false);
  const Value attribute = given.next("attribute", Value());
  given.done();
  Values kept, seen;
  for (const Value& item : iterate(value, evaluator.work())) {
    const Value key = key_of(item, attribute, case_sensitive, evaluator.work());
    const bool known =
        std::any_of(seen.begin(), seen.end(), [&](const Value& other) { return equal(key, other, evaluator.work()); });
    if (known) continue;
    kept.push_back(item);
    seen.push_back(key);
  }
  return generator(std::move(kept));
}

Value sum(const Value& value, Arguments& given, Evaluator& evaluator) {
  const Value attribute = given.next("attribute", Value());
  Value total = given.next("start", Value(std::int64_t{0}));
  given.done();
  for (const Value& item : iterate(value, evaluator.work())) {
    const Value part = attribute.is(Kind::kNone) ? item : attribute_by(item, attribute, evaluator.work());
    total = arithmetic("+", total, part, evaluator.work());
  }
  return total;
}

Value batched(const Value& value, Arguments& given, Evaluator& evaluator) {
  const std::int64_t count = given.integer("linecount", 0);
  const Value fill = given.next("fill_with", Value());
  given.done();
  if (count < 1 || count > 100000) throw Failure("batch: expected 1 to 100000 items");
  Values out, batch;
  for (const Value& item : iterate(value, evaluator.work())) {
    evaluator.work().spend(8);
    batch.push_back(item);
    if (batch.size() == static_cast<std::size_t>(count)) out.push_back(Value::list(std::exchange(batch, {})));
  }
  if (!batch.empty()) {
    evaluator.work().spend(4 * static_cast<std::size_t>(count));
    while (!fill.is(Kind::kNone) && batch.size() < static_cast<std::size_t>(count)) batch.push_back(fill);
    out.push_back(Value::list(std::move(batch)));
  }
  return generator(std::move(out));
}

Value mapped(const Value& value, Arguments& given, Evaluator& evaluator) {
  Work& work = evaluator.work();
  Values out;
  if (!value.truthy()) return generator({});  // None too
  if (given.positional.empty()) {
    const Value attribute = given.required("attribute"), standard = given.next("default", Value());
    given.done();
    for (const Value& item : iterate(value, work)) {
      const Value found = attribute_by(item, attribute, work);
      out.push_back(found.is_undefined() && !standard.is(Kind::kNone) ? standard : found);
    }
    return generator(std::move(out));
  }
  const std::string filter = given.text("filter");
  const Values rest(given.positional.begin() + 1, given.positional.end());
  for (const Value& item : iterate(value, work)) {
    work.spend(4);
    Arguments arguments{filter, rest, given.named};
    out.push_back(apply_filter(filter, item, arguments, evaluator));
  }
  return generator(std::move(out));
}

// select, reject, selectattr, rejectattr: by a test, or by what is true.
template <bool by_attribute, bool wanted>
Value selected(const Value& value, Arguments& given, Evaluator& evaluator) {
  Work& work = evaluator.work();
  if (!value.truthy()) return generator({});  // None too
  std::size_t used = by_attribute ? 1 : 0;
  if (given.positional.size() < used) throw Failure(cat(given.callee, ": the attribute's name is missing"));
  const Value attribute = by_attribute ? given.positional[0] : Value();
  std::string test;
  if (given.positional.size() > used) {
    if (!given.positional[used].is_text()) throw Failure(cat(given.callee, ": a test's name must be a str"));
    test = given.positional[used++].text();
  }
  const Values rest(given.positional.begin() + static_cast<std::ptrdiff_t>(used), given.positional.end());
  Values out;
  for (const Value& item : iterate(value, work)) {
    work.spend(4);
    const Value looked_at = by_attribute ? attribute_by(item, attribute, work) : item;
    Arguments arguments{test, rest, given.named};
    const bool fits = test.empty() ? looked_at.truthy() : apply_test(test, looked_at, arguments, evaluator);
    if (fits == wanted) out.push_back(item);
  }
  return generator(std::move(out));
}

}  // namespace

const Filters& sequence_filters() {
  static const Filters all{{"batch", batched},
                           {"count", length_of},
                           {"dictsort", dict_sorted},
                           {"first", first},
                           {"items", entries_of},
                           {"join", joined},
                           {"last", last},
                           {"length", length_of},
                           {"list", listed},
                           {"map", mapped},
                           {"max", extreme<true>},
                           {"min", extreme<false>},
                           {"reject", selected<false, false>},
                           {"rejectattr", selected<true, false>},
                           {"reverse", reversed},
                           {"select", selected<false, true>},
                           {"selectattr", selected<true, true>},
                           {"sort", sort},
                           {"sum", sum},
                           {"unique", unique}};
  return all;
}

}  // namespace wt::jinja
