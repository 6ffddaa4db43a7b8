#include "core/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

std::string nested(int depth, const std::string& inside = "") {
  return std::string(static_cast<std::size_t>(depth), '[') + inside + std::string(static_cast<std::size_t>(depth), ']');
}

TEST(ParseJson, Values) {
  EXPECT_EQ(parse_json(R"({"b": [1, "x"], "a": null})", "f.json").dump(), R"({"a":null,"b":[1,"x"]})");
  EXPECT_EQ(parse_ordered_json(R"({"b": [1, "x"], "a": null})", "f.json").dump(), R"({"b":[1,"x"],"a":null})");
}

TEST(ParseJson, SaysWhereItStopped) {
  EXPECT_ERROR(parse_json("{\"a\":", "f.json"), Error, "f.json: not valid JSON near byte 6");
  EXPECT_ERROR(parse_ordered_json("[1 2]", "f.json"), Error, "f.json: not valid JSON near byte 4");
  EXPECT_ERROR(parse_json("", "f.json"), Error, "f.json: not valid JSON near byte 1");
  EXPECT_ERROR(parse_json("\"\xff\"", "f.json"), Error, "f.json: not valid JSON near byte 2");
  EXPECT_ERROR(parse_json("{} x", "f.json"), Error, "f.json: not valid JSON near byte");
  EXPECT_ERROR(parse_json("[1e400]", "f.json"), Error, "f.json: a number in it is out of range");
}

TEST(ParseJson, RefusesWhatNestsTooDeep) {
  const std::string message = "f.json: lists or objects stand too deep in each other";
  EXPECT_EQ(parse_json(nested(200), "f.json").dump(), nested(200));
  EXPECT_ERROR(parse_json(nested(201), "f.json"), Error, message);
  EXPECT_ERROR(parse_ordered_json(nested(100, "{\"a\":" + nested(100) + "}"), "f.json"), Error, message);
  EXPECT_ERROR(parse_json(std::string(100'000, '['), "f.json"), Error, message);  // never closed
  const std::string side_by_side = "[" + std::string(300, ' ') + "[],{},[],[{}]]";
  EXPECT_EQ(parse_json(side_by_side, "f.json").size(), 4u);
}

TEST(ParseJson, BracketsInTextsAreText) {
  const std::string brackets(300, '[');
  EXPECT_EQ(parse_json("\"\\\"" + brackets + "\"", "f.json"), "\"" + brackets);
  EXPECT_EQ(parse_json("[\"\\\\\", \"" + brackets + "\"]", "f.json").size(), 2u);
  EXPECT_ERROR(parse_json("[\"\\\\\", " + nested(250) + "]", "f.json"), Error, "too deep");  // the text ended before
}

}  // namespace
}  // namespace wt
