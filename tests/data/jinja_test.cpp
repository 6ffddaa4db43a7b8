#include <gtest/gtest.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "data/jinja/json.h"
#include "data/jinja/template.h"
#include "tests/support/expect_error.h"

namespace wt::jinja {
namespace {

// March 4th, 2026, a quarter past five in the morning or nearly, wherever this runs.
std::time_t fixed_time() {
  std::tm parts{};
  parts.tm_year = 126;
  parts.tm_mon = 2;
  parts.tm_mday = 4;
  parts.tm_hour = 5;
  parts.tm_min = 6;
  parts.tm_sec = 7;
  parts.tm_isdst = -1;
  return std::mktime(&parts);
}

std::string rendered(const std::string& source, const std::string& variables = "{}") {
  const Value values = from_json(parse_ordered_json(variables, "variables"));
  return Template::parse(source, "t").render(variables_of(values), fixed_time());
}

// The right texts are those of jinja2 3.1.6 in transformers' environment: tests/bench/compare_chat_templates.py
// --refresh.
TEST(Jinja, WritesWhatTheLibraryWrites) {
  const auto cases = parse_ordered_json(read_file(WAVETAPE_SOURCE_DIR "/tests/fixtures/chat/cases.json"), "cases");
  ASSERT_GT(cases.size(), 80u);
  for (const auto& entry : cases) {
    const std::string name = entry["name"], source = entry["template"];
    try {
      const Value variables = from_json(entry["variables"]);
      const std::string text = Template::parse(source, "t").render(variables_of(variables), fixed_time());
      EXPECT_FALSE(entry["text"].is_null()) << name << ": not refused, but " << text;
      if (entry["text"].is_string()) {
        EXPECT_EQ(text, entry["text"].get<std::string>()) << name;
      }
    } catch (const Error& error) {
      EXPECT_TRUE(entry["text"].is_null()) << name << ": " << error.what();
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << name;
      EXPECT_EQ(std::string(error.what()).rfind("t:", 0), 0u) << name << ": " << error.what();
    }
  }
}

TEST(Jinja, ErrorsNameTheLineAndWhatIsWrong) {
  EXPECT_ERROR(rendered("a\n{{ raise_exception('Only\nuser') }}"), Error,
               "t:2: the template refuses this chat: Only user");
  EXPECT_ERROR(rendered("\n\n{% if x.y %}{% endif %}"), Error, "t:3: 'x' is undefined");
  EXPECT_ERROR(rendered("{{ x.y.z }}", R"({"x": {}})"), Error, "t:1: dict has no attribute 'y'");
  EXPECT_ERROR(rendered("{% macro f() %}\n{{ 1 + 'a' }}\n{% endmacro %}{{ f() }}"), Error, "t:2: no + of int and str");
  EXPECT_ERROR(rendered("x\n{{ 1 | nofilter }}"), Error, "t:2: the filter 'nofilter' is not known in chat templates");
  EXPECT_ERROR(rendered("{{ 1 is notest }}"), Error, "t:1: the test 'notest' is not known");
  EXPECT_ERROR(rendered("\n{% include 'a' %}"), Error, "t:2: the tag {% include %} is not known");
  EXPECT_ERROR(rendered("{% for x in y recursive %}{% endfor %}"), Error, "t:1: recursive loops are not supported");
  EXPECT_ERROR(rendered("{% set l = [] %}{{ l.append(1) }}"), Error, "'append' would change a list");
  EXPECT_ERROR(rendered("{% if true %}\nx"), Error, "t:2: the template ends before {% endif %}");
  EXPECT_ERROR(rendered("\n{{ 'a' + }}"), Error, "t:2: expected an expression, not }}");
  EXPECT_ERROR(rendered("{{ 99999999999999999999 }}"), Error, "t:1: the number 99999999999999999999");
  EXPECT_ERROR(rendered("{{ 9223372036854775807 + 1 }}"), Error, "t:1: an integer is out of range");
  EXPECT_ERROR(rendered("{{ f }}{% macro f() %}{% endmacro %}{{ f }}"), Error,
               "f() is no text; is a call's () missing?");
}

// What a hostile template can do is end with an error: soon, and in little memory.
TEST(Jinja, TemplatesThatWouldNotEndAreStopped) {
  const char* const hostile[] = {
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% macro f(g) %}{{ g(g) }}{% endmacro %}{{ f(f) }}",
      "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
      "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
      "{% set n = namespace(x=[1]) %}{% for i in range(90) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
      "{% set n = namespace(x=[]) %}{% for i in range(90) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
      ("{% set n = namespace(x=[1], y=[1]) %}"
       "{% for i in range(90) %}{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}"),
      "{% set n = namespace(x=[1]) %}{% for i in range(90) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | tojson }}",
      "{% set n = namespace(x=1) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% endfor %}",
      ("{% set n = namespace(x=1) %}"
       "{% for i in range(9999) %}{% for j in [n.x] %}{% set n.x = loop %}{% endfor %}{% endfor %}"),
      "{% macro f() %}{% macro g() %}{% endmacro %}{% set n.f = f %}{% endmacro %}{{ 'x' * 999999999999 }}",
      "{{ ('a' * 999999).replace('', 'b' * 999999) }}",
      "{{ ('a,' * 999999).split(',') | join('b' * 999999) }}",
      "{{ '%999999999d' % 1 }}",
      "{{ 'x'.ljust(999999999999) }}",
      "{{ 'x' | indent(999999999) }}",
      "{{ 10 ** 999999999 }}"};
  for (const char* source : hostile) EXPECT_THROW(rendered(source), Error) << source;
  const std::size_t many = 100000;
  std::string sums = "{{ 1", blocks;
  for (std::size_t i = 0; i < many; ++i) {
    sums += "+1";
    blocks += "{% if 1 %}";
  }
  EXPECT_ERROR(rendered("{{ " + std::string(many, '(') + "1" + std::string(many, ')') + " }}"), Error,
               "nests too deep");
  EXPECT_ERROR(rendered(sums + " }}"), Error, "nests too deep");
  EXPECT_ERROR(rendered(blocks), Error, "blocks nest too deep");
  EXPECT_ERROR(rendered(std::string((1 << 20) + 1, 'x')), Error, "longer than");
}

TEST(Jinja, ThingsThatHoldThemselvesAreTakenApart) {
  EXPECT_EQ(rendered("{% set n = namespace() %}{% set n.n = n %}{{ n.n.n is defined }}"), "True");
  EXPECT_EQ(rendered("{% set n = namespace() %}{% macro f() %}{{ n.f is callable }}{% endmacro %}{% set n.f = f %}"
                     "{{ n.f() }}"),
            "True");
}

TEST(Jinja, BytesThatAreNoCharactersStay) {
  const Variables variables{{"x", Value("a\xff\xc3 ")}};
  const auto text = [&](const char* source) { return Template::parse(source, "t").render(variables, 0); };
  EXPECT_EQ(text("{{ x | trim }}"), "a\xff\xc3");
  EXPECT_EQ(text("{{ x | upper }}{{ x | length }}{{ x[1] }}"), "A\xff\xc3 4\xff");
}

}  // namespace
}  // namespace wt::jinja
