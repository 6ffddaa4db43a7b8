#include "data/csv.h"

#include "tests/data/data_test_support.h"
#include "tests/support/expect_error.h"

namespace wt {
namespace {

using Fields = std::vector<std::string>;

TEST(Csv, PlainRows) {
  const CsvTable table = parse_csv(",target,output,question\n0,office,in the office,Where is Mary? \n1,,,\n", "a.csv");
  EXPECT_EQ(table.header.fields, (Fields{"", "target", "output", "question"}));
  ASSERT_EQ(table.rows.size(), 2u);
  EXPECT_EQ(table.rows[0].fields, (Fields{"0", "office", "in the office", "Where is Mary? "}));
  EXPECT_EQ(table.rows[1].fields, (Fields{"1", "", "", ""}));
  EXPECT_EQ(table.rows[1].line, 3);
  EXPECT_EQ(table.column("output"), 2u);
}

TEST(Csv, QuotedFieldsHoldEverything) {
  const CsvTable table = parse_csv(
      "a,b\n"
      "\"one, two\",\"she said \"\"no\"\"\"\n"
      "\"two\nlines\r\nand three\rfour\",\"\"\n"
      "\"\"\"\",\"\n\"\n"
      "x,y\n",
      "a.csv");
  ASSERT_EQ(table.rows.size(), 4u);
  EXPECT_EQ(table.rows[0].fields, (Fields{"one, two", "she said \"no\""}));
  EXPECT_EQ(table.rows[1].fields, (Fields{"two\nlines\r\nand three\rfour", ""}));
  EXPECT_EQ(table.rows[2].fields, (Fields{"\"", "\n"}));
  EXPECT_EQ(table.rows[2].line, 7) << "line breaks inside fields count";
  EXPECT_EQ(table.rows[3].line, 9);
}

TEST(Csv, LineEndsAndByteOrderMark) {
  for (const std::string end : {"\n", "\r\n", "\r"}) {
    for (const std::string mark : {"", "\xEF\xBB\xBF"}) {
      for (const std::string last : {"", "1", "2"}) {
        const std::string tail = last == "1" ? end : last == "2" ? end + end + end : "";
        const CsvTable table = parse_csv(cat(mark, "a,b", end, "1,\"x\"", end, end, "2,", tail), "a.csv");
        EXPECT_EQ(table.header.fields, (Fields{"a", "b"}));
        ASSERT_EQ(table.rows.size(), 2u);
        EXPECT_EQ(table.rows[0].fields, (Fields{"1", "x"}));
        EXPECT_EQ(table.rows[1].fields, (Fields{"2", ""}));
        EXPECT_EQ(table.rows[1].line, 4);
      }
    }
  }
}

TEST(Csv, BytesAreKept) {
  const std::string odd("\xff\0\xc3\x28 \t", 6);
  EXPECT_EQ(parse_csv(cat("a\n", odd, "\n"), "a.csv").rows.at(0).fields, Fields{odd});
  EXPECT_EQ(parse_csv("a,b\n ,\n", "a.csv").rows.at(0).fields, (Fields{" ", ""}));
  EXPECT_TRUE(parse_csv("a,b", "a.csv").rows.empty());
}

// The right values are pandas 3.1.1's.
TEST(Csv, FieldsAreThoseOfPandas) {
  const std::vector<std::pair<std::string, std::vector<Fields>>> cases{
      {"a,b\n1,x\"y\n", {{"1", "x\"y"}}},
      {"a,b\n1, \"2\"\n", {{"1", " \"2\""}}},
      {"a,b\n1,\"2\"x\n", {{"1", "2x"}}},
      {"a,b\n1,\"2\"x\"y\n", {{"1", "2x\"y"}}},
      {"a,b\n1,\"x\"\" y\"\n", {{"1", "x\" y"}}},
      {"a,b\n1,\"2\"x\",y\"\n", {{"2x\"", "y\""}}},
      {"a,b\n \n\t \n1,2\n   ", {{"1", "2"}}},
      {" \r\na,b\r\n\t\r\n1,2\r\n", {{"1", "2"}}},
      {"a,b\n  1,2\n", {{"  1", "2"}}},
      {"a,b\n1\n", {{"1", ""}}},
      {"a,b\n1,2\n\"\"\n", {{"1", "2"}, {"", ""}}},
      {"a,b\n1,2\n,", {{"1", "2"}, {"", ""}}},
      {"a,b\n1,2,3\n4,5\n6\n", {{"2", "3"}, {"5", ""}, {"", ""}}},
      {"a,b\n1,2,\n3,4,\n", {{"2", ""}, {"4", ""}}},
      {"a,b,a\n1,2,3\n", {{"1", "2", "3"}}},
      {"\xEF\xBB\xBF\"a\",b\n1,2", {{"1", "2"}}},
  };
  for (const auto& [text, wanted] : cases) {
    const CsvTable table = parse_csv(text, "a.csv");
    std::vector<Fields> got;
    for (const CsvRow& row : table.rows) got.push_back(row.fields);
    EXPECT_EQ(got, wanted) << text;
    EXPECT_EQ(table.column("a"), 0u) << text;
  }
  const CsvTable cut = parse_csv("a,b,c\n1,2\n", "a.csv");
  EXPECT_EQ(cut.rows.at(0).given, 2u);
  EXPECT_EQ(cut.rows.at(0).fields.size(), 3u);
}

TEST(Csv, DamageIsNamedWithItsLine) {
  const auto expect = [](const std::string& text, const std::string& what) {
    EXPECT_ERROR(parse_csv(text, "a.csv"), Error, what);
  };
  expect("", "a.csv:1: the file is empty");
  expect("\n\r\n\n", "a.csv:1: the file is empty");
  expect("\xEF\xBB\xBF", "a.csv:1: the file is empty");
  expect(std::string("\xFF\xFE,\0", 4), "a.csv:1: is UTF-16 text");
  expect("a,b\n1,2\n\n1,2,3\n", "a.csv:4: a row of 3 fields, the header has 2");
  expect("a,b\n1,2,3\n1,2,3,4\n", "a.csv:3: a row of 4 fields, the first has 3");
  expect("a,b\n1,\"2\n3\n", "a.csv:2: a quote is opened here and never closed");
  expect("a\n\"1\"\"\n", "a.csv:2: a quote is opened here");
  const CsvTable table = parse_csv("\n,target,ouput\n", "a.csv");
  EXPECT_ERROR(table.column("output"), Error, "a.csv:2: no column \"output\", did you mean ouput?");
  EXPECT_ERROR(table.column("question"), Error, "there are \"\", \"target\", \"ouput\"");
  EXPECT_ERROR(read_csv("/nowhere/x.csv"), Error, "/nowhere/x.csv");
}

TEST(Csv, WhatIsWrittenReadsBack) {
  EXPECT_EQ(csv_field(""), "");
  EXPECT_EQ(csv_field(" office; 'x'\t"), " office; 'x'\t");
  EXPECT_EQ(csv_field("a,b"), "\"a,b\"");
  EXPECT_EQ(csv_field("say \"x\""), "\"say \"\"x\"\"\"");
  EXPECT_EQ(csv_field("a\nb"), "\"a\nb\"");
  EXPECT_EQ(csv_field("a\r"), "\"a\r\"");
  EXPECT_EQ(csv_field("a\xB9"), "a\uFFFD") << "bytes that are no UTF-8";
  for (const std::string text : {"", ",", "\"", "\"\"", "\n", "\r\n", "a\"b,c\n\"", "plain", "\r"}) {
    const CsvTable table = parse_csv(cat("a,b\n", csv_field(text), ",", csv_field(text), "\n"), "a.csv");
    ASSERT_EQ(table.rows.size(), 1u);
    EXPECT_EQ(table.rows[0].fields, (Fields{text, text}));
  }
}

}  // namespace
}  // namespace wt
