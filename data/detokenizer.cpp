#include "data/detokenizer.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <vector>

#include "data/jinja/text.h"

namespace wt {
namespace {

using CharRange = std::pair<char32_t, char32_t>;  // both ends belong to it

// In this order: "&amp;lt;" is "&lt;".
constexpr std::array<std::pair<const char*, const char*>, 12> kReplaced{{{" @-@ ", "-"},
                                                                         {"&bar;", "|"},
                                                                         {"&#124;", "|"},
                                                                         {"&lt;", "<"},
                                                                         {"&gt;", ">"},
                                                                         {"&bra;", "["},
                                                                         {"&ket;", "]"},
                                                                         {"&quot;", "\""},
                                                                         {"&apos;", "'"},
                                                                         {"&#91;", "["},
                                                                         {"&#93;", "]"},
                                                                         {"&amp;", "&"}}};

// Hangul Jamo, CJK and Yi, Phags-pa, Hangul syllables, compatibility forms, halfwidth forms, Tangut, Kana supplements,
// the supplementary ideographic planes.
constexpr std::array<CharRange, 11> kCjk{{{0x1100, 0x11FF},
                                          {0x2E80, 0xA4CF},
                                          {0xA840, 0xA87F},
                                          {0xAC00, 0xD7AF},
                                          {0xF900, 0xFAFF},
                                          {0xFE30, 0xFE4F},
                                          {0xFF65, 0xFFDC},
                                          {0x17000, 0x18AFF},
                                          {0x1B000, 0x1B12F},
                                          {0x1B170, 0x1B2FF},
                                          {0x20000, 0x2FFFF}}};
// Unicode's category Sc.
constexpr std::array<CharRange, 20> kCurrency{
    {{0x24, 0x24},     {0xA2, 0xA5},     {0x58F, 0x58F},   {0x60B, 0x60B},     {0x7FE, 0x7FF},
     {0x9F2, 0x9F3},   {0x9FB, 0x9FB},   {0xAF1, 0xAF1},   {0xBF9, 0xBF9},     {0xE3F, 0xE3F},
     {0x17DB, 0x17DB}, {0x20A0, 0x20C0}, {0xA838, 0xA838}, {0xFDFC, 0xFDFC},   {0xFE69, 0xFE69},
     {0xFF04, 0xFF04}, {0xFFE0, 0xFFE1}, {0xFFE5, 0xFFE6}, {0x11FDD, 0x11FE0}, {0x1E2FF, 0x1E2FF}}};

template <std::size_t N>
bool is_in(const std::array<CharRange, N>& ranges, char32_t c) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [c](const CharRange& range) { return c >= range.first && c <= range.second; });
}

bool is_cjk(char32_t c) {
  return is_in(kCjk, c);
}

bool consists_of(const std::u32string& word, std::u32string_view characters) {
  return word.find_first_not_of(characters) == std::u32string::npos;
}

bool opens(const std::u32string& word) {
  return std::all_of(word.begin(), word.end(), [](char32_t c) {
    return std::u32string_view(U"([{¿¡").find(c) != std::u32string_view::npos || is_in(kCurrency, c);
  });
}

}  // namespace

std::string detokenized(std::string_view text) {
  std::string plain = " " + std::string(text) + " ";
  for (const auto& [from, to] : kReplaced) plain = jinja::replace(plain, from, to, -1);

  std::map<std::u32string, int> quotes;  // seen of each kind
  std::string out, blank;                // `blank`: what stands before the next word
  std::u32string before;
  for (const std::string& bytes : jinja::split(plain, nullptr, -1)) {
    const std::u32string word = jinja::decoded(bytes);
    bool joins_left = false, joins_right = false;
    if (is_cjk(word.front())) {
      joins_left = !before.empty() && is_cjk(before.back());
    } else if (opens(word)) {
      joins_right = true;
    } else if (consists_of(word, U",.?!:;\\%}])") ||
               (!before.empty() && word.size() > 1 && word[0] == U'\'' && jinja::is_letter(word[1]))) {
      joins_left = true;
    } else if (consists_of(word, U"'\"„“`")) {
      int& seen = quotes[consists_of(word, U"„“") ? U"\"" : word];
      const bool closes = seen % 2 == 1;
      const bool is_possessive = !closes && word == U"'" && !before.empty() && before.back() == U's';
      joins_left = closes || is_possessive;
      joins_right = !joins_left;
      seen += is_possessive ? 0 : 1;
    }
    if (!joins_left) out += blank;
    out += bytes;
    blank = joins_right ? "" : " ";
    before = word;
  }
  return out;
}

}  // namespace wt
