// Settings structs through YAML: what the Fields primitives promise, apart from any configuration of ours.
#include "train/fields.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace wt {
namespace {

// A struct that has been through a change: `width` was `size`, a whole group `old` held what `factor` holds now, and a
// list of `parts` has become a count of them.
struct Settings {
  std::int64_t width = 4, size = 0;
  double factor = 1, old_factor = 0;
  bool has_shape = false;
  std::string shape = "round", kind = "a";
  std::vector<std::int64_t> parts;
};

void describe(Fields& f, Settings& c) {
  f.integer("width", c.width, at_least(1), "How wide");
  f.retired([&](Fields& g) {
    g.integer("size", c.size, at_least(1), "How wide, once", Presence::kRequired);
    g.group("old", "What was here",
            [&](Fields& h) { h.real("old_factor", c.old_factor, above(0), "How much, once", Presence::kRequired); });
    g.choice<std::string>("kind", c.kind, {{"a", "a"}, {"b", "b"}}, "Of two");
    g.groups<std::int64_t>("parts", c.parts, 0, "Parts", [](Fields& h, std::int64_t& part) {
      h.integer("length", part, at_least(0), "How long", Presence::kRequired);
    });
  });
  if (c.size > 0) c.width = c.size;
  f.real("factor", c.factor, above(0), "How much");
  f.optional_group("shape", c.has_shape, "The shape", [&](Fields& g) {
    g.retired([&](Fields& h) { h.text("form", c.shape, "Its name, once"); });
    g.text("name", c.shape, "Its name");
  });
}

Settings parse(const std::string& text, Places places = {}) {
  Settings settings;
  read_fields(parse_yaml(text, "f.yaml"), places, [&](Fields& f) { describe(f, settings); });
  return settings;
}

TEST(RetiredFields, AreReadWhereAFileHasThem) {
  const Settings none = parse("factor: 2\n");
  EXPECT_EQ(none.width, 4);
  EXPECT_EQ(none.factor, 2);
  const Settings all =
      parse("size: 7\nold: {old_factor: 0.5}\nkind: b\nparts: [{length: 3}, {length: 5}]\nshape: {form: square}\n");
  EXPECT_EQ(all.width, 7);
  EXPECT_EQ(all.old_factor, 0.5);
  EXPECT_EQ(all.kind, "b");
  EXPECT_EQ(all.parts, (std::vector<std::int64_t>{3, 5}));
  EXPECT_EQ(all.shape, "square");
}

TEST(RetiredFields, AreCheckedAsOthersAre) {
  EXPECT_ERROR(parse("size: 0\n"), UsageError, "f.yaml:1: size: is '0', expected a whole number at least 1");
  EXPECT_ERROR(parse("width: 3\nkind: c\n"), UsageError, "f.yaml:2: kind: is 'c', expected a or b");
  EXPECT_ERROR(parse("old: 3\n"), UsageError, "f.yaml:1: old is '3', expected a group of keys");
  // A group that is there must have what it needs.
  EXPECT_ERROR(parse("old: {}\n"), UsageError, "f.yaml:1: old.old_factor: missing, must be given");
  EXPECT_ERROR(parse("parts: [{}]\n"), UsageError, "f.yaml:1: parts.0.length: missing, must be given");
}

TEST(RetiredFields, AreNotWrittenListedOrPrinted) {
  Settings settings = parse("size: 7\nold: {old_factor: 0.5}\nparts: [{length: 3}]\nshape: {form: square}\n");
  const auto described = [&](Fields& f) { describe(f, settings); };
  EXPECT_EQ(write_fields(described), "width: 7\nfactor: 1.0\nshape:\n  name: square\n");
  EXPECT_EQ(list_fields(described),
            (std::vector<FieldValue>{{"width", "7"}, {"factor", "1.0"}, {"shape.name", "square"}}));
  EXPECT_EQ(field_paths(described), (std::vector<std::string>{"width", "factor", "shape", "shape.name"}));
  EXPECT_EQ(field_reference([](Fields& f) {
              Settings defaults;
              describe(f, defaults);
            }),
            "# How wide (whole number at least 1)\nwidth: 4\n# How much (number above 0)\nfactor: 1.0\n"
            "# The shape. May be left out.\nshape:\n  # Its name (text)\n  name: round\n");
}

TEST(RetiredFields, AreNotSuggested) {
  EXPECT_ERROR(parse("sizes: 3\n"), UsageError, "f.yaml:1: sizes: unknown key; known here: width, factor, shape");
  EXPECT_ERROR(parse("shape: {formm: x}\n"), UsageError, "f.yaml:1: shape.formm: unknown key; known here: name");
  EXPECT_ERROR(parse("old_factor: 3\n"), UsageError, "f.yaml:1: old_factor: unknown key; known here: width");
  EXPECT_ERROR(parse("facto: 3\n"), UsageError, "f.yaml:1: facto: unknown key, did you mean factor?");
  // Whoever has given the group is told what may stand in it.
  EXPECT_ERROR(parse("old: {old_faktor: 3}\n"), UsageError, "old.old_faktor: unknown key, did you mean old_factor?");
}

TEST(RetiredFields, CanBeExcluded) {
  Settings settings;
  Places places;
  EXPECT_ERROR(
      read_fields(parse_yaml("width: 3\nsize: 3\n", "f.yaml"), places,
                  [&](Fields& f) {
                    f.integer("width", settings.width, at_least(1), "How wide");
                    f.excluded(
                        [&](Fields& g) { g.retired([&](Fields& h) { h.integer("size", settings.size, {}, "Once"); }); },
                        "is not for this kind");
                  }),
      UsageError, "f.yaml:2: size: is not for this kind");
}

}  // namespace
}  // namespace wt
