#include "data/oniguruma_sets.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.h"

namespace wt {
namespace {

using Named = std::pair<const char*, const char*>;

// General categories.
constexpr std::array kCategories{Named{"C", "other"},
                                 Named{"Cc", "control"},
                                 Named{"Cf", "format"},
                                 Named{"Cn", "unassigned"},
                                 Named{"Co", "privateuse"},
                                 Named{"L", "letter"},
                                 Named{"Ll", "lowercaseletter"},
                                 Named{"Lm", "modifierletter"},
                                 Named{"Lo", "otherletter"},
                                 Named{"Lt", "titlecaseletter"},
                                 Named{"Lu", "uppercaseletter"},
                                 Named{"M", "mark"},
                                 Named{"Mc", "spacingmark"},
                                 Named{"Me", "enclosingmark"},
                                 Named{"Mn", "nonspacingmark"},
                                 Named{"N", "number"},
                                 Named{"Nd", "decimalnumber"},
                                 Named{"Nl", "letternumber"},
                                 Named{"No", "othernumber"},
                                 Named{"P", "punctuation"},
                                 Named{"Pc", "connectorpunctuation"},
                                 Named{"Pd", "dashpunctuation"},
                                 Named{"Pe", "closepunctuation"},
                                 Named{"Pf", "finalpunctuation"},
                                 Named{"Pi", "initialpunctuation"},
                                 Named{"Po", "otherpunctuation"},
                                 Named{"Ps", "openpunctuation"},
                                 Named{"S", "symbol"},
                                 Named{"Sc", "currencysymbol"},
                                 Named{"Sk", "modifiersymbol"},
                                 Named{"Sm", "mathsymbol"},
                                 Named{"So", "othersymbol"},
                                 Named{"Z", "separator"},
                                 Named{"Zl", "lineseparator"},
                                 Named{"Zp", "paragraphseparator"},
                                 Named{"Zs", "spaceseparator"}};
constexpr std::array kScripts{"Arabic",   "Armenian", "Bengali",    "Bopomofo", "Braille",   "Cherokee",  "Common",
                              "Coptic",   "Cyrillic", "Devanagari", "Ethiopic", "Georgian",  "Greek",     "Gujarati",
                              "Gurmukhi", "Han",      "Hangul",     "Hebrew",   "Hiragana",  "Inherited", "Kannada",
                              "Katakana", "Khmer",    "Lao",        "Latin",    "Malayalam", "Mongolian", "Myanmar",
                              "Ogham",    "Oriya",    "Runic",      "Sinhala",  "Syriac",    "Tamil",     "Telugu",
                              "Thaana",   "Thai",     "Tibetan",    "Yi"};
constexpr std::array kPosix{Named{"alnum", R"(\p{Alphabetic}\p{Nd})"}, Named{"alpha", R"(\p{Alphabetic})"},
                            Named{"ascii", R"(\x{0}-\x{7F})"},         Named{"digit", kDigit},
                            Named{"lower", R"(\p{Lowercase})"},        Named{"space", kWhiteSpace},
                            Named{"upper", R"(\p{Uppercase})"},        Named{"xdigit", kHexDigit}};

char lower(char c) {
  return static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

}  // namespace

std::optional<std::string> posix_members(std::string_view name) {
  if (name == "word") return kWord;
  for (const auto& [known, members] : kPosix) {
    if (name == known) return members;
  }
  return std::nullopt;
}

std::optional<std::string> property_members(std::string_view name) {
  std::string plain;  // names are read without case and without what separates their words
  for (const char c : name) {
    if (c != ' ' && c != '_' && c != '-') plain += lower(c);
  }
  const auto is = [&](std::string_view known) {
    return std::equal(known.begin(), known.end(), plain.begin(), plain.end(),
                      [](char a, char b) { return lower(a) == b; });
  };
  for (const auto& [category, longer] : kCategories) {
    if (is(category) || is(longer)) return cat("\\p{", category, "}");
  }
  for (const char* script : kScripts) {
    // Alone, the name would stand for the script's extensions.
    if (is(script)) return cat("\\p{sc:", script, "}");
  }
  if (is("word")) return kWordAlone;
  if (is("any")) return R"(\x{0}-\x{10FFFF})";
  if (is("alphabetic")) return posix_members("alpha");
  if (is("whitespace")) return kWhiteSpace;
  return posix_members(plain);
}

}  // namespace wt
