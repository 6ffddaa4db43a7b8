#include "core/json_object.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

using Json = nlohmann::json;

TEST(JsonObject, ReadsWhatIsThereAndKeepsFallbacks) {
  const Json json = Json::parse(R"({"i": 7, "r": 2.5, "b": true, "t": "x", "l": ["a", "b"], "ids": [3, 4], "id": 5,
                                    "null": null, "o": {"i": 8}})");
  const JsonObject top(json, "f.json");
  EXPECT_TRUE(top.has("i"));
  EXPECT_FALSE(top.has("none"));
  EXPECT_FALSE(top.has("null")) << "a null counts as absent";
  EXPECT_EQ(top.integer("i", 1), 7);
  EXPECT_EQ(top.integer("none", 1, 0), 0) << "a fallback may be out of range";
  EXPECT_EQ(top.integer("null", 1, 9), 9);
  EXPECT_EQ(top.real("r"), 2.5);
  EXPECT_EQ(top.real("i"), 7.0);
  EXPECT_EQ(top.real("none", -1), -1.0);
  EXPECT_EQ(top.positive("r"), 2.5);
  EXPECT_TRUE(top.boolean("b"));
  EXPECT_FALSE(top.boolean("none", false));
  EXPECT_EQ(top.text("t"), "x");
  EXPECT_EQ(top.text("none", "y"), "y");
  EXPECT_EQ(top.texts("l"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(top.tokens("ids"), (std::vector<std::int64_t>{3, 4}));
  EXPECT_EQ(top.tokens("id"), std::vector<std::int64_t>{5});
  EXPECT_TRUE(top.tokens("null").empty());
  EXPECT_EQ(top.object("o").integer("i", 1), 8);
  top.must_be("b", true);
  top.must_be("none", true);
  top.must_be_absent("null");
  top.must_be_one_of("t", {"w", "x"}, "w");
  top.must_be_one_of("none", {"w", "x"}, "w");
  top.object("o").refuse_other_keys({"i", "j"});
}

TEST(JsonObject, ErrorsNameFileKeyAndWhatWasExpected) {
  const Json json = Json::parse(R"({"zero": 0, "big": 18446744073709551615, "half": 0.5, "text": "abc", "list": [1],
                                    "empty": [], "mixed": ["a", 1], "ids": [1, -1], "null": null,
                                    "o": {"deep": {"x": "no"}, "inner": 1}})");
  const JsonObject top(json, "f.json");
  EXPECT_ERROR(top.integer("zero", 1), Error, "f.json: zero: is 0, expected a whole number, at least 1");
  EXPECT_ERROR(top.integer("big", 1), Error,
               "f.json: big: is 18446744073709551615, expected a whole number, at least 1");
  EXPECT_ERROR(top.integer("half", 0), Error, "f.json: half: is 0.5, expected a whole number, at least 0");
  EXPECT_ERROR(top.integer("none", 0), Error, "f.json: none: is missing, expected a value");
  EXPECT_ERROR(top.real("null"), Error, "f.json: null: is null, expected a value");
  EXPECT_ERROR(top.real("text", 1), Error, "f.json: text: is \"abc\", expected a number");
  EXPECT_ERROR(top.positive("zero"), Error, "f.json: zero: is 0, expected a number above 0");
  EXPECT_ERROR(top.boolean("zero", true), Error, "f.json: zero: is 0, expected true or false");
  EXPECT_ERROR(top.text("list"), Error, "f.json: list: is a list, expected text");
  EXPECT_ERROR(top.text("o"), Error, "f.json: o: is an object, expected text");
  for (const char* key : {"none", "text", "empty", "mixed"}) {
    EXPECT_ERROR(top.texts(key), Error, "expected a list of texts");
  }
  for (const char* key : {"text", "empty", "ids", "half"}) EXPECT_ERROR(top.tokens(key), Error, "expected a token id");
  EXPECT_ERROR(top.must_be("text", true), Error, "f.json: text: is \"abc\", expected true or false");
  EXPECT_ERROR(JsonObject(Json{{"b", false}}, "f.json").must_be("b", true), Error,
               "f.json: b: is false, expected true (anything else is not supported)");
  EXPECT_ERROR(top.must_be_absent("zero"), Error, "f.json: zero: is 0, expected nothing there: it is not supported");
  EXPECT_ERROR(top.must_be_one_of("text", {"w", "x"}, "w"), Error, "f.json: text: is \"abc\", expected w or x");
  EXPECT_ERROR(top.fail("text", "does not fit"), Error, "f.json: text: does not fit");
  // The path leads through every object above.
  EXPECT_ERROR(top.object("o").object("deep").integer("x", 1), Error, "f.json: o.deep.x: is \"no\", expected a whole");
  EXPECT_ERROR(top.object("o").refuse_other_keys({"deep", "inter"}), Error,
               "f.json: o.inner: unknown key, did you mean inter?");
  EXPECT_ERROR(top.object("list"), Error, "f.json: list: is a list, expected an object");
  EXPECT_ERROR(top.object("none"), Error, "f.json: none: is missing, expected an object");
  EXPECT_ERROR(top.object("null"), Error, "f.json: null: is null, expected an object");
  EXPECT_ERROR(JsonObject(Json(3), "f.json"), Error, "f.json: is 3, expected an object");
}

TEST(JsonObject, LongValuesAreShownShort) {
  const Json json{{"long", std::string(100, 'x')}, {"bytes", "\xff"}};
  const JsonObject top(json, "f.json");
  EXPECT_ERROR(top.boolean("long"), Error, "is \"" + std::string(56, 'x') + "..., expected true or false");
  EXPECT_ERROR(top.boolean("bytes"), Error, "is \"\\ufffd\", expected");
}

}  // namespace
}  // namespace wt
