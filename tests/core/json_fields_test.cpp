#include "core/json_fields.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

using Json = nlohmann::json;

enum class Shape : std::uint8_t { kRound, kSquare };

struct Inner {
  std::int64_t count = 3;
  bool operator==(const Inner&) const = default;
};
void describe(Fields& f, Inner& c) {
  f.integer("count", c.count, from_to(1, 9), "How many", Presence::kRequired);
}

struct Outer {
  double rate = 0.5;
  bool open = false;
  std::string name = "a";
  Shape shape = Shape::kRound;
  std::vector<std::string> words{"x"};
  std::vector<std::int64_t> numbers;
  std::vector<WeightedName> parts{{"p", 2}};
  Inner inner;
  std::optional<Inner> more;
  std::vector<Inner> list;
  bool operator==(const Outer&) const = default;
};
void describe(Fields& f, Outer& c) {
  f.real("rate", c.rate, from_to(0, 1), "Rate");
  f.boolean("open", c.open, "Open");
  f.text("name", c.name, "Name");
  f.choice<Shape>("shape", c.shape, {{"round", Shape::kRound}, {"square", Shape::kSquare}}, "Shape");
  f.texts("words", c.words, "Words");
  f.integers("numbers", c.numbers, at_least(0), "Numbers");
  f.weights("parts", c.parts, "Parts");
  f.group("inner", "Inner", [&](Fields& g) { describe(g, c.inner); });
  f.optional_group("more", c.more, "More");
  f.groups<Inner>("list", c.list, Inner{}, "List", [](Fields& g, Inner& i) { describe(g, i); });
  double old = 0;
  f.retired([&](Fields& g) { g.real("old", old, at_least(0), "Old"); });
}

Outer read(const std::string& text) {
  const Json json = Json::parse(text);
  Outer out;
  read_json_fields(JsonObject(json, "f.json"), [&](Fields& f) { describe(f, out); });
  return out;
}

TEST(JsonFields, WhatIsWrittenReadsBackTheSame) {
  Outer some;
  some.rate = 0.25;
  some.open = true;
  some.name = "b";
  some.shape = Shape::kSquare;
  some.words = {"y", "z"};
  some.numbers = {4, 0};
  some.parts = {{"q", 0.5}, {"r", 1}};
  some.inner.count = 7;
  some.more = Inner{2};
  some.list = {Inner{1}, Inner{5}};
  for (Outer value : {Outer{}, some}) {
    const nlohmann::ordered_json json = write_json_fields([&](Fields& f) { describe(f, value); });
    EXPECT_FALSE(json.contains("old"));
    EXPECT_EQ(json.contains("more"), value.more.has_value());
    EXPECT_TRUE(read(json.dump()) == value) << json;
  }
}

TEST(JsonFields, KeysThatAreLeftOutKeepTheirValues) {
  EXPECT_TRUE(read("{}") == Outer{});
  EXPECT_EQ(read(R"({"rate": 1, "more": null, "old": 3})").rate, 1);
  EXPECT_FALSE(read(R"({"more": null})").more.has_value());
}

TEST(JsonFields, ErrorsNameFileKeyAndWhatIsAllowed) {
  EXPECT_ERROR(read(R"({"rate": 2})"), Error, "f.json: rate: is 2, expected a number from 0 to 1");
  EXPECT_ERROR(read(R"({"inner": {"count": 0}})"), Error,
               "f.json: inner.count: is 0, expected a whole number from 1 to 9");
  EXPECT_ERROR(read(R"({"inner": {}})"), Error, "f.json: inner.count: is missing, expected a value");
  EXPECT_ERROR(read(R"({"list": [{"count": 1}, {"count": 10}]})"), Error, "f.json: list.1.count: is 10");
  EXPECT_ERROR(read(R"({"list": {}})"), Error, "f.json: list: is an object, expected a list of objects");
  EXPECT_ERROR(read(R"({"shape": "flat"})"), Error, "f.json: shape: is \"flat\", expected round or square");
  EXPECT_ERROR(read(R"({"numbers": [-1]})"), Error, "f.json: numbers: is a list, expected whole numbers at least 0");
  EXPECT_ERROR(read(R"({"numbers": 3})"), Error, "f.json: numbers: is 3, expected a list of whole numbers");
  EXPECT_ERROR(read(R"({"parts": {"p": 0}})"), Error, "f.json: parts.p: is 0, expected a number above 0");
  EXPECT_ERROR(read(R"({"nmae": "x"})"), Error, "f.json: nmae: unknown key, did you mean name?");
}

}  // namespace
}  // namespace wt
