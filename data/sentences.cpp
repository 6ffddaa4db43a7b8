#include "data/sentences.h"

#include <algorithm>
#include <array>

namespace wt {
namespace {

// Words before a full stop that ends no sentence, in lower case. Those of the second list do so only before a number
// ("No. 7", "chap. 3"), since they are words of their own, or end sentences as often.
constexpr std::array<std::string_view, 34> kAbbreviations{
    "mr",   "mrs",  "ms",   "messrs", "mme", "mlle", "dr",  "prof",  "rev",  "hon", "st",  "ste",
    "col",  "capt", "gen",  "lieut",  "lt",  "maj",  "sgt", "serjt", "corp", "adm", "gov", "pres",
    "supt", "insp", "bart", "viz",    "vs",  "cf",   "i.e", "e.g",   "mt",   "fr"};
constexpr std::array<std::string_view, 9> kBeforeNumbers{"no", "nos", "p", "pp", "fig", "art", "vol", "chap", "sec"};

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_letter(char c) {
  return is_upper(c) || is_lower(c);
}

std::string in_lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (is_upper(c)) c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

// Runs of white space made one blank, none at the ends.
std::string unwrapped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (!is_blank(c)) {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

// Quotes and brackets that close what the sentence has opened, and the underscore that ends _stress_ in plain text.
std::size_t closing_length(std::string_view text, std::size_t at) {
  for (const std::string_view closing : {"\"", "'", ")", "]", "_", "\u201d", "\u2019", "\u00bb"}) {
    if (text.substr(at).starts_with(closing)) return closing.size();
  }
  return 0;
}

constexpr std::array<std::string_view, 11> kOpening{"\"", "'",      "(",      "[",      "_",     "*",
                                                    "-",  "\u201c", "\u2018", "\u00ab", "\u2014"};

std::size_t opening_length(std::string_view text, std::size_t at) {
  for (const std::string_view opening : kOpening) {
    if (text.substr(at).starts_with(opening)) return opening.size();
  }
  return 0;
}

bool ends_with_opening(std::string_view text) {
  return std::any_of(kOpening.begin(), kOpening.end(),
                     [&](std::string_view opening) { return text.ends_with(opening); });
}

// A full stop at `at`: is it part of an abbreviation, an initial or a number?
bool stop_is_inside(std::string_view text, std::size_t at, char next) {
  std::size_t begin = at;
  while (begin > 0 && (is_letter(text[begin - 1]) || text[begin - 1] == '.')) --begin;
  if (begin > 0 && !is_blank(text[begin - 1]) && !ends_with_opening(text.substr(0, begin)))
    return false;  // "7th.", "it's."
  const std::string_view word = text.substr(begin, at - begin);
  if (word.empty()) return false;
  // Initials: "J. R. Smith", but "It was I." ends, and so does "Plan A." before nothing that looks like a name.
  if (word.size() == 1 && is_upper(word[0]) && word != "I") return true;
  const std::string lower = in_lower_case(word);
  const auto listed = [&](const auto& list) { return std::find(list.begin(), list.end(), lower) != list.end(); };
  return listed(kAbbreviations) || (is_digit(next) && listed(kBeforeNumbers));
}

// Where the sentence that starts at `begin` of an unwrapped paragraph ends.
std::size_t sentence_end(std::string_view text, std::size_t begin) {
  std::size_t i = begin;
  while (i < text.size()) {
    const bool ellipsis_character = text.substr(i).starts_with("\u2026");
    const char c = text[i];
    if (c != '.' && c != '!' && c != '?' && !ellipsis_character) {
      ++i;
      continue;
    }
    // The whole run of marks (?!, ...), then what closes.
    const std::size_t first = i;
    while (i < text.size()) {
      const std::size_t dots = text.substr(i).starts_with("\u2026") ? 3 : 0;
      if (dots == 0 && text[i] != '.' && text[i] != '!' && text[i] != '?') break;
      i += dots > 0 ? dots : 1;
    }
    const bool single_stop = c == '.' && i == first + 1;
    const std::size_t marks_end = i;
    while (const std::size_t length = closing_length(text, i)) i += length;
    if (i >= text.size()) return i;
    if (text[i] != ' ') continue;  // 3.14, "What?" cut short by a dash, e.g.x
    // What follows: skip what opens a quotation, then look at the first character.
    std::size_t next = i + 1;
    while (const std::size_t length = opening_length(text, next)) next += length;
    const char follower = next < text.size() ? text[next] : ' ';
    if (is_lower(follower)) continue;  // "No!" he cried
    if (single_stop && marks_end == i && stop_is_inside(text, first, follower)) continue;
    return i;
  }
  return text.size();
}

// A heading that a line starts a chapter with: CHAPTER IV, BOOK THE FIRST, III., Volume 2. Headings stand alone even
// where no blank line follows.
bool is_heading(std::string_view line) {
  static constexpr std::array<std::string_view, 9> kWords{"chapter", "book",     "volume", "part",    "stave",
                                                          "letter",  "prologue", "canto",  "epilogue"};
  const std::string text = unwrapped(line);
  if (text.empty() || text.size() > 60) return false;
  const std::size_t end = std::min(text.find(' '), text.size());
  const std::string_view first = std::string_view(text).substr(0, end);
  const std::string_view rest = std::string_view(text).substr(std::min(end + 1, text.size()));
  std::string_view word = first;
  while (!word.empty() && (word.back() == '.' || word.back() == ':')) word.remove_suffix(1);
  const auto is_number = [](std::string_view number) {
    while (!number.empty() && (number.back() == '.' || number.back() == ':')) number.remove_suffix(1);
    return !number.empty() && (std::all_of(number.begin(), number.end(), is_digit) ||
                               number.find_first_not_of("IVXLCDM") == std::string_view::npos);
  };
  if (rest.empty() && is_number(first) && (first.size() > 1 || first != "I")) return true;
  const std::string lower = in_lower_case(word);
  if (std::find(kWords.begin(), kWords.end(), lower) == kWords.end()) return false;
  if (!is_upper(first[0])) return false;
  if (rest.empty())
    return lower == "prologue" || lower == "epilogue" || std::all_of(word.begin(), word.end(), is_upper);
  const std::string_view second = rest.substr(0, rest.find(' '));
  const bool shouted = std::all_of(word.begin(), word.end(), is_upper);
  return is_number(second) || (shouted && std::none_of(second.begin(), second.end(), is_lower));
}

void add_paragraph(std::string_view wrapped, std::vector<std::string>& out) {
  const std::string text = unwrapped(wrapped);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = sentence_end(text, begin);
    out.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
}

}  // namespace

std::vector<std::string> split_sentences(std::string_view text) {
  std::vector<std::string> out;
  std::size_t paragraph = 0;  // where the lines not yet put out begin
  std::size_t position = 0;
  while (position < text.size()) {
    const std::size_t end = std::min(text.find('\n', position), text.size());
    const std::string_view line = text.substr(position, end - position);
    const bool empty = is_blank_text(line);
    const bool heading = !empty && is_heading(line);
    if (empty || heading) {
      add_paragraph(text.substr(paragraph, position - paragraph), out);
      if (heading) out.push_back(unwrapped(line));
      paragraph = std::min(end + 1, text.size());
    }
    position = end + 1;
  }
  if (paragraph < text.size()) add_paragraph(text.substr(paragraph), out);
  return out;
}

bool is_blank_text(std::string_view text) {
  return std::all_of(text.begin(), text.end(), is_blank);
}

std::size_t last_sentence_cut(std::string_view text) {
  constexpr std::size_t kContext = 512;
  for (std::size_t at = text.size() - std::min(text.size(), kContext); at > 0; --at) {
    // The last character before a blank can end a sentence: a mark, or what closes behind one.
    if (!is_blank(text[at]) || is_blank(text[at - 1]) || is_digit(text[at - 1]) || is_letter(text[at - 1])) continue;
    const std::string before = unwrapped(text.substr(at - std::min(at, kContext), std::min(at, kContext)));
    const std::string around = before + " " + unwrapped(text.substr(at, kContext));
    std::size_t end = 0;
    for (std::size_t begin = 0; end < before.size(); begin = end + 1) end = sentence_end(around, begin);
    if (end == before.size()) return at + 1;
  }
  return 0;
}

}  // namespace wt
