#include "train/yaml.h"

#include <gtest/gtest.h>

#include "core/files.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_folder.h"

namespace wt {
namespace {

YamlNode scalar(const std::string& text) {
  return *parse_yaml("v: " + text, "f").find("v");
}

TEST(Yaml, KeepsOrderKindsAndPlaces) {
  const YamlNode root = parse_yaml("b: 1\na:\n  - x\n  - {c: 'q'}\nn:\n", "f.yaml");
  EXPECT_EQ(root.kind, YamlNode::Kind::kMap);
  EXPECT_EQ(root.fields[0].name, "b");
  EXPECT_EQ(root.find("b")->where, "f.yaml:1");
  const YamlNode& list = *root.find("a");
  EXPECT_EQ(list.kind, YamlNode::Kind::kList);
  EXPECT_EQ(list.where, "f.yaml:2");
  EXPECT_EQ(list.items[0].text, "x");
  EXPECT_EQ(list.items[1].where, "f.yaml:4");
  EXPECT_TRUE(list.items[1].find("c")->quoted);
  EXPECT_FALSE(list.items[0].quoted);
  EXPECT_EQ(root.find("n")->kind, YamlNode::Kind::kNull);
  EXPECT_EQ(root.find("n")->where, "f.yaml:5");
  EXPECT_EQ(root.find("zzz"), nullptr);
  EXPECT_EQ(parse_yaml("", "f").kind, YamlNode::Kind::kNull);
  EXPECT_EQ(parse_yaml("# only a comment\n", "f").kind, YamlNode::Kind::kNull);
  EXPECT_EQ(parse_yaml("---\na: 1\n", "f").find("a")->text, "1");
}

TEST(Yaml, RefusesWhatReadersDisagreeAbout) {
  const auto refused = [](const std::string& text, const std::string& message) {
    SCOPED_TRACE(text.substr(0, 100));
    EXPECT_ERROR(parse_yaml(text, "f.yaml"), UsageError, message);
  };
  refused("a: 1\nb: 2\na: 3\n", "f.yaml:3: the key a stands twice; the first is at f.yaml:1");
  refused("g:\n  a: 1\n  a: 3\n", "f.yaml:3: the key a stands twice; the first is at f.yaml:2");
  refused("x: &base {a: 1}\n", "f.yaml:1: anchors (&name) are not supported");
  refused("x: *base\n", "f.yaml:1: ");
  refused("x:\n  <<: {a: 1}\n", "f.yaml:2: merge keys (<<) are not supported");
  refused("x: !!int 3\n", "f.yaml:1: tags");
  refused("x: !mine 3\n", "f.yaml:1: tags");
  refused("a: 1\n---\nb: 2\n", "f.yaml:3: a second document");
  refused("? [a, b]\n: 1\n", "f.yaml:1: a key must be plain text");
  refused("? {a: b}\n: 1\n", "f.yaml:1: a key must be plain text");
  refused("a: {b: 1\n", "f.yaml:");
  refused("a: [1, 2\n", "f.yaml:");
  refused("a: \"open\n", "f.yaml:");
  refused("k: 1\na: 'open '' quote\n", "f.yaml:2: a quote is never closed");
  refused("a: \"open \\\"", "f.yaml:1: ");
  refused("a: b: c\n", "f.yaml:1: not YAML: ");
  refused("\ta: 1\n", "f.yaml:1: not YAML: ");
  refused(std::string("a: 1\nb: \0\n", 10), "f.yaml:2: a NUL byte");
  refused(std::string(100'000, '['), "f.yaml:1: ");
}

TEST(Yaml, MissingFilesAreUsageErrors) {
  const TempFolder folder;
  EXPECT_ERROR(read_yaml(folder / "none.yaml"), UsageError, "none.yaml: No such file or directory");
  EXPECT_ERROR(read_yaml(folder.path()), UsageError, "Is a directory");
  write_file(folder / "a.yaml", "a: [\n");
  EXPECT_ERROR(read_yaml(folder / "a.yaml"), UsageError, "a.yaml:");
}

TEST(Yaml, WholeNumbers) {
  const auto value = [](const std::string& text) { return yaml_integer(scalar(text)).value_or(-999); };
  EXPECT_EQ(value("0"), 0);
  EXPECT_EQ(value("42"), 42);
  EXPECT_EQ(value("-7"), -7);
  EXPECT_EQ(value("+7"), 7);
  EXPECT_EQ(value("1e3"), 1000);
  EXPECT_EQ(value("1.5e1"), 15);
  EXPECT_EQ(value("2.0"), 2);
  EXPECT_EQ(value("9223372036854775807"), INT64_MAX);
  EXPECT_EQ(value("9007199254740993"), 9007199254740993);
  for (const char* text :
       {"010",  "-010", "0x10", "0o7", "1_000", "1,000", "1.5", "1e-1", "1e400", "9223372036854775808",
        "1e17", "",     "'-'",  "+",   ".",     "1e",    "e1",  "12x",  "'12'",  "\"12\"",
        ".inf", "nan",  "++1",  "[1]", "1 2"}) {
    EXPECT_EQ(value(text), -999) << text;
  }
}

TEST(Yaml, Numbers) {
  const auto value = [](const std::string& text) { return yaml_real(scalar(text)).value_or(-999); };
  EXPECT_EQ(value("0.1"), 0.1);
  EXPECT_EQ(value("1e-4"), 1e-4);
  EXPECT_EQ(value("1E+4"), 1e4);
  EXPECT_EQ(value("-.5"), -0.5);
  EXPECT_EQ(value("5."), 5.0);
  EXPECT_EQ(value("3"), 3.0);
  for (const char* text :
       {"01.5", ".inf", "-.inf", ".nan", "inf", "nan", "1e400", "0x1p3", "1.5f", "'1.5'", "1e+", "{}"}) {
    EXPECT_EQ(value(text), -999) << text;
  }
}

TEST(Yaml, Booleans) {
  EXPECT_EQ(yaml_boolean(scalar("true")), true);
  EXPECT_EQ(yaml_boolean(scalar("false")), false);
  for (const char* text : {"yes", "no", "True", "on", "1", "'true'", "", "[]"}) {
    EXPECT_FALSE(yaml_boolean(scalar(text)).has_value()) << text;
  }
}

TEST(Yaml, OverridesReplaceAddAndIndex) {
  YamlNode root = parse_yaml("data: {books: x}\nlist:\n  - {steps: 1}\n  - {steps: 2}\nempty:\n", "f.yaml");
  apply_override(root, "data.books=/a/b=c.h5");
  apply_override(root, "list.1.steps=20");
  apply_override(root, "list.0.lr=1e-3");
  apply_override(root, "new.group.key=[1, 2]");
  apply_override(root, "empty.x=1");
  apply_override(root, "data.name=");
  apply_override(root, "data.gone=~");
  EXPECT_EQ(root.find("data")->find("books")->text, "/a/b=c.h5");
  EXPECT_EQ(root.find("data")->find("books")->where, "command line: 'data.books=/a/b=c.h5'");
  EXPECT_EQ(root.find("list")->items[1].find("steps")->text, "20");
  EXPECT_EQ(root.find("list")->items[0].find("lr")->text, "1e-3");
  EXPECT_EQ(root.find("list")->items[0].find("steps")->text, "1");
  EXPECT_EQ(root.find("new")->find("group")->find("key")->items.size(), 2u);
  EXPECT_EQ(root.find("empty")->find("x")->text, "1");
  EXPECT_EQ(root.find("data")->find("name")->kind, YamlNode::Kind::kScalar);
  EXPECT_EQ(root.find("data")->find("gone")->kind, YamlNode::Kind::kNull);
}

TEST(Yaml, BadOverridesSaySo) {
  YamlNode root = parse_yaml("list: [{a: 1}]\nx: 3\n", "f.yaml");
  const auto refused = [&](const std::string& text, const std::string& message) {
    EXPECT_ERROR(apply_override(root, text), UsageError, message);
  };
  refused("novalue", "command line: 'novalue': expected key=value");
  refused("=3", "command line: '=3': expected key=value");
  refused("a..b=3", "command line: 'a..b=3': a path has names with single dots between");
  refused("list.1.a=3", "command line: 'list.1.a=3': '1' is no entry of a list with 1 entries");
  refused("list.-1.a=3", "command line: 'list.-1.a=3': '-1' is no entry");
  refused("list.0x.a=3", "command line: 'list.0x.a=3': '0x' is no entry");
  refused("list.a=3", "command line: 'list.a=3': 'a' is no entry");
  refused("x.y=3", "command line: 'x.y=3': there is no key 'y' in '3'");
}

TEST(Yaml, AnOverrideKeepsWhatWasTyped) {
  YamlNode root = parse_yaml("x: 3\n", "f.yaml");
  for (const std::string& typed :
       {std::string("runs/x #1"), std::string("a: b"), std::string("[1"), std::string("'q'")}) {
    apply_override(root, "x=" + typed);
    EXPECT_EQ(root.find("x")->typed, typed);
  }
  apply_override(root, "x=[1");
  EXPECT_EQ(root.find("x")->problem, "a key must be plain text (or a bracket is open)");
  EXPECT_EQ(root.find("x")->text, "[1");
}

TEST(Yaml, ChangesOfAFileAreCarriedOver) {
  const YamlNode before = parse_yaml("a: 1\nb: {c: 2, d: 3}\nlist: [{s: 1, t: 2}, {s: 3}]\n", "before");
  const YamlNode after = parse_yaml("a: 1\nb: {c: 9, e: 5}\nlist: [{s: 1}, {s: 4}, {s: 6}]\n", "after");
  YamlNode tree = parse_yaml("a: 7\nb: {c: 2, d: 3, f: 8}\nlist: [{s: 1, t: 2, u: 0}, {s: 3}]\n", "tree");
  carry_changes(before, after, tree);
  EXPECT_EQ(tree.find("a")->text, "7") << "not changed by the file";
  const YamlNode& b = *tree.find("b");
  EXPECT_EQ(b.find("c")->text, "9");
  EXPECT_EQ(b.find("c")->where, "after:2");
  EXPECT_EQ(b.find("d"), nullptr);
  EXPECT_EQ(b.find("e")->text, "5");
  EXPECT_EQ(b.find("f")->text, "8");
  const std::vector<YamlNode>& list = tree.find("list")->items;
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0].find("t"), nullptr);
  EXPECT_EQ(list[0].find("u")->text, "0");
  EXPECT_EQ(list[1].find("s")->text, "4");
  EXPECT_EQ(list[2].find("s")->text, "6");
}

TEST(Yaml, FormattedValuesReadBackEqual) {
  for (const double value : {0.0, 1.0, 0.1, 1e-5, 1e300, -2.5e-10, 123456789.0, 1.0 / 3}) {
    const std::string text = format_real(value);
    EXPECT_EQ(yaml_real(scalar(text)), value) << text;
    EXPECT_NE(text.find('.'), std::string::npos) << text;
  }
  const std::string all_of_them = "a b: #c\n\t\"quoted\" \\ 'x' \x01\x7f ü {[,]} & * ! | > % @ `";
  for (const std::string& value :
       {std::string("plain"), std::string("a/b_c-d.e"), std::string(""), std::string("true"), std::string("null"),
        std::string("~"), std::string("123"), std::string("1e3"), std::string("-"), std::string(" x "),
        std::string("No"), std::string("a: b"), std::string("#x"), all_of_them}) {
    const YamlNode node = scalar(format_text(value));
    EXPECT_EQ(node.kind, YamlNode::Kind::kScalar) << value;
    EXPECT_EQ(node.text, value) << format_text(value);
  }
  EXPECT_EQ(format_text("plain"), "plain");
}

TEST(Yaml, DescribesValuesForMessages) {
  EXPECT_EQ(scalar("12x").describe(), "'12x'");
  EXPECT_EQ(scalar("[1]").describe(), "a list");
  EXPECT_EQ(scalar("{a: 1}").describe(), "a group of keys");
  EXPECT_EQ(scalar("").describe(), "empty");
  EXPECT_EQ(scalar(std::string(100, 'x')).describe(), "'" + std::string(57, 'x') + "...'");
  EXPECT_EQ(scalar("\"a\\nb\"").describe(), "'a b'");
}

}  // namespace
}  // namespace wt
