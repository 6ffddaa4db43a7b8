// How values compare: the ==, < and in of data/jinja/value.h.
#include <algorithm>

#include "core/error.h"
#include "data/jinja/value.h"

namespace wt::jinja {

bool equal(const Value& a, const Value& b, Work& work) {
  work.spend(1);
  if (a.is_integer() && b.is_integer()) return a.integer() == b.integer();
  if (a.is_number() && b.is_number()) return a.number() == b.number();
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Value::Kind::kText:
      if (a.text().size() != b.text().size()) return false;
      work.spend_text(a.text().size());
      return a.text() == b.text();
    case Value::Kind::kList:
    case Value::Kind::kTuple:
      return a.items().size() == b.items().size() &&
             std::equal(a.items().begin(), a.items().end(), b.items().begin(),
                        [&](const Value& x, const Value& y) { return equal(x, y, work); });
    case Value::Kind::kDict:
      if (a.entries().size() != b.entries().size()) return false;
      for (const auto& [key, value] : a.entries()) {
        work.spend(b.entries().size());
        const Value* other = b.find(key);
        if (other == nullptr || !equal(value, *other, work)) return false;
      }
      return true;
    case Value::Kind::kObject:
      return a.object() == b.object();
    default:
      return true;
  }
}

int compare(const Value& a, const Value& b, Work& work) {
  work.spend(1);
  require_defined(a);
  require_defined(b);
  if (a.is_integer() && b.is_integer()) return a.integer() < b.integer() ? -1 : a.integer() > b.integer() ? 1 : 0;
  if (a.is_number() && b.is_number()) return a.number() < b.number() ? -1 : a.number() > b.number() ? 1 : 0;
  if (a.is_text() && b.is_text()) {
    work.spend_text(std::min(a.text().size(), b.text().size()));
    return a.text().compare(b.text());  // UTF-8 orders as its characters do
  }
  if (a.is_list() && a.kind() == b.kind()) {
    for (std::size_t i = 0; i < std::min(a.items().size(), b.items().size()); ++i) {
      if (!equal(a.items()[i], b.items()[i], work)) return compare(a.items()[i], b.items()[i], work);
    }
    return a.items().size() < b.items().size() ? -1 : a.items().size() > b.items().size() ? 1 : 0;
  }
  throw Failure(cat(a.type_name(), " and ", b.type_name(), " have no order"));
}

bool contains(const Value& whole, const Value& part, Work& work) {
  switch (whole.kind()) {
    case Value::Kind::kText:
      require_defined(part);
      if (!part.is_text()) throw Failure(cat("'in' a str wants a str, not ", part.type_name()));
      work.spend_text(whole.text().size());
      return whole.text().find(part.text()) != std::string::npos;
    case Value::Kind::kList:
    case Value::Kind::kTuple:
      return std::any_of(whole.items().begin(), whole.items().end(),
                         [&](const Value& item) { return equal(item, part, work); });
    case Value::Kind::kDict:
      work.spend(whole.entries().size());
      return whole.find(part) != nullptr;
    case Value::Kind::kUndefined:
      return false;
    case Value::Kind::kObject: {
      const Values items = iterate(whole, work);
      return std::any_of(items.begin(), items.end(), [&](const Value& item) { return equal(item, part, work); });
    }
    default:
      throw Failure(cat("'in' wants a str, list or dict, not ", whole.type_name()));
  }
}

}  // namespace wt::jinja
