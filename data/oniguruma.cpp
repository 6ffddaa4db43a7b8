#include "data/oniguruma.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "core/error.h"
#include "data/oniguruma_reader.h"
#include "data/oniguruma_sets.h"

namespace wt {
namespace {

constexpr int kDeepest = 100;    // groups and classes in each other
constexpr int kMostRepeats = 4;  // behind one atom

// What matches no character, by its name.
const std::vector<std::pair<std::string, std::string>>& assertions() {
  static const std::string in = cat("(?=[", kWordAlone, "])"), behind = cat("(?<=[", kWordAlone, "])"),
                           not_in = cat("(?![", kWordAlone, "])"), not_behind = cat("(?<![", kWordAlone, "])");
  static const std::vector<std::pair<std::string, std::string>> list{
      {"^", "(?m:^)"},
      {"$", "(?m:$)"},
      {"\\A", "\\A"},
      {"\\z", "\\z"},
      {"\\Z", "(?=\\n?\\z)"},
      {"\\b", cat("(?:", behind, not_in, "|", not_behind, in, ")")},
      {"\\B", cat("(?:", behind, in, "|", not_behind, not_in, ")")},
  };
  return list;
}

std::string hex_escape(char32_t code) {
  std::string digits;
  do {
    digits.insert(digits.begin(), "0123456789ABCDEF"[code % 16]);
    code /= 16;
  } while (code > 0);
  return cat("\\x{", digits, "}");
}

class Translator : private OnigurumaReader {
 public:
  using OnigurumaReader::OnigurumaReader;

  std::string run() {
    std::string out = alternatives({});
    if (!at_end()) unsupported(")", at_);
    return out;
  }

 private:
  struct Flags {
    bool ignore_case = false, dot_all = false;
  };
  struct Atom {
    std::string text;
    bool repeatable = true;
  };

  std::string alternatives(Flags flags) {
    if (++depth_ > kDeepest) unsupported("more than 100 groups in each other", at_);
    std::string out;
    while (!at_end() && !next_is(")")) {
      if (take("|")) {
        out += '|';
        last_letter_ = 0;
      } else {
        out += repeated(flags);
      }
    }
    --depth_;
    return out;
  }

  std::string repeated(Flags flags) {
    const std::size_t begin = at_;
    Atom piece = atom(flags);
    int count = 0;
    for (std::optional<std::string> repeat = quantifier(); repeat; repeat = quantifier()) {
      if (!piece.repeatable) unsupported("a repeated assertion", begin);
      if (++count > kMostRepeats) unsupported("a repeat of repeats of repeats", begin);
      // PCRE2 would read the second of two as a part of the first.
      piece.text = count > 1 ? cat("(?:", piece.text, ")", *repeat) : cat(piece.text, *repeat);
      if (!repeat->starts_with('{')) last_letter_ = 0;
    }
    return piece.text;
  }

  // A repeat with the "?" or "+" that belongs to it. What only looks like one is not read.
  std::optional<std::string> quantifier() {
    std::string out;
    for (const char* plain : {"*", "+", "?"}) {
      if (out.empty() && take(plain)) out = plain;
    }
    bool fixed = false, interval = false;
    if (out.empty()) {
      const std::size_t begin = at_;
      std::optional<int> least, most;
      interval = take("{");
      if (interval) least = number();
      if (interval && !(fixed = next_is("}")) && (interval = take(","))) most = number();
      interval = interval && (least || most) && take("}");
      if (!interval) {
        at_ = begin;
        return std::nullopt;
      }
      if (least.value_or(0) > kMostTimes || most.value_or(0) > kMostTimes || (most && *most < least.value_or(0))) {
        unsupported(pattern_.substr(begin, at_ - begin), begin);
      }
      out = cat("{", least.value_or(0), fixed ? "" : ",", most ? cat(*most) : "", "}");
      // Oniguruma writes s{2} as ss.
      if (last_letter_ == 's' || last_letter_ == 'f') check_folds(static_cast<char32_t>(last_letter_), begin);
    }
    // Behind an interval "+" is another repeat, and behind {n} "?" too.
    if (!fixed && take("?")) return out + "?";
    if (!interval && take("+")) return out + "+";
    return out;
  }

  Atom atom(Flags flags) {
    const std::size_t begin = at_;
    if (quantifier()) unsupported(cat("the repeat ", pattern_.substr(begin, at_ - begin), " of nothing"), begin);
    if (take("(")) return group(flags, begin);
    if (take("[")) return {char_class(flags, begin)};
    if (take(".")) return other({flags.dot_all ? "(?s:.)" : "[^\\n]"});
    for (const auto& [name, pattern] : assertions()) {
      if (take(name)) return other({pattern, false});
    }
    if (take("\\N")) return other({"[^\\n]"});
    if (take("\\O")) return other({"(?s:.)"});
    if (take("\\R")) return other({R"((?>\r\n|[\n-\r\x{85}\x{2028}\x{2029}]))"});
    const Item item = take("\\") ? escape(begin, false) : character(take_character());
    if (item.members.empty()) return {literal(item.code, flags, begin)};
    // Not in brackets, such sets are the same under (?i).
    const std::string set = cat(item.negated ? "[^" : "[", item.members, "]");
    return other({flags.ignore_case ? cat("(?-i:", set, ")") : set});
  }

  Atom other(Atom made) {
    last_letter_ = 0;
    return made;
  }

  std::string literal(char32_t code, Flags flags, std::size_t begin) {
    if (flags.ignore_case) {
      if (code >= 0x80) unsupported("a character beyond ASCII under (?i)", begin);
      check_folds(code, begin);
    } else {
      last_letter_ = 0;
    }
    return is_letter(code) || is_digit(code) ? std::string(1, static_cast<char>(code)) : hex_escape(code);
  }

  // Without case, Oniguruma takes "ss" for U+00DF as well and "ff", "fi", "fl", "st" for their ligatures, wherever
  // groups begin and end between the two.
  void check_folds(char32_t code, std::size_t begin) {
    const char letter = static_cast<char>(code >= 'A' && code <= 'Z' ? code + 32 : code);
    const std::string two{last_letter_, letter};
    for (const char* folded : {"ss", "ff", "fi", "fl", "st"}) {
      if (two == folded) unsupported(cat("\"", two, "\" under (?i)"), begin);
    }
    last_letter_ = letter;
  }

  void close_group(std::size_t begin) {
    if (!take(")")) unsupported("a ( without its )", begin);
  }

  // Behind "(".
  Atom group(Flags flags, std::size_t begin) {
    const auto inner = [&](const std::string& open, bool repeatable) {
      std::string text = cat(open, alternatives(flags), ")");
      close_group(begin);
      return Atom{std::move(text), repeatable};
    };
    if (next_is("*")) unsupported("(*", begin);
    if (!take("?")) return inner("(?:", true);
    if (take(":")) return inner("(?:", true);
    if (take(">")) return inner("(?>", true);
    for (const char* look : {"=", "!", "<=", "<!"}) {
      if (take(look)) return inner(cat("(?", look), false);
    }
    if (take("#")) {
      while (!at_end() && !next_is(")")) {
        if (take("\\") && at_end()) break;
        take_character();
      }
      close_group(begin);
      return {"", false};
    }
    if (take("<")) return named(begin, inner);
    return options(flags, begin);
  }

  template <class Inner>
  Atom named(std::size_t begin, const Inner& inner) {
    const std::size_t name = at_;
    while (!at_end() && !next_is(">")) {
      const char32_t c = take_character();
      if (!is_letter(c) && c != '_' && !(is_digit(c) && at_ > name + 1)) unsupported("(?<", begin);
    }
    if (at_ == name || !take(">")) unsupported("(?<", begin);
    return inner("(?:", true);  // nothing refers to it
  }

  // "(?i-m:...)", or "(?i)", which holds up to the end of the group it stands in, "|" included.
  Atom options(Flags flags, std::size_t begin) {
    bool on = true;
    while (!next_is(")") && !next_is(":")) {
      if (take("-")) {
        on = false;
      } else if (take("i")) {
        flags.ignore_case = on;
      } else if (take("m")) {
        flags.dot_all = on;
      } else {
        if (!at_end()) take_character();
        unsupported(pattern_.substr(begin, at_ - begin), begin);
      }
    }
    const bool closed = take(":");
    if (!closed) take(")");
    Atom out{cat(flags.ignore_case ? "(?i:" : "(?-i:", alternatives(flags), ")"), closed};
    if (closed) close_group(begin);
    return out;
  }

  // What a character class has so far, or one side of a "&&" in it.
  struct Members {
    std::string inside;               // between brackets
    std::vector<std::string> others;  // patterns of one character each that cannot stand there
    bool empty() const { return inside.empty() && others.empty(); }
    // One character of them.
    std::string pattern() const {
      if (others.empty()) return cat("[", inside, "]");
      std::string out = inside.empty() ? "(?:" : cat("(?:[", inside, "]|");
      for (std::size_t i = 0; i < others.size(); ++i) out += cat(i > 0 ? "|" : "", others[i]);
      return out + ")";
    }
  };

  // Behind "[".
  std::string char_class(Flags flags, std::size_t begin) {
    if (++depth_ > kDeepest) unsupported("more than 100 classes in each other", begin);
    last_letter_ = 0;
    const bool negated = take("^");
    std::vector<Members> sides(1);
    const std::size_t first = at_;
    // A "]" that comes first is a member.
    while (at_end() || !next_is("]") || at_ == first) {
      if (at_end()) unsupported("a [ without its ]", begin);
      if (take("&&")) {
        sides.emplace_back();
      } else {
        add_member(sides.back(), flags);
      }
    }
    ++at_;
    --depth_;
    const bool simple = sides.size() == 1 && sides.front().others.empty();
    if (std::any_of(sides.begin(), sides.end(), [](const Members& side) { return side.empty(); })) {
      unsupported("a [ ] with nothing in it", begin);
    }
    if (simple) return cat(negated ? "[^" : "[", sides.front().inside, "]");
    if (flags.ignore_case) unsupported("a class of classes under (?i)", begin);
    std::string both;
    for (std::size_t i = 0; i + 1 < sides.size(); ++i) both += cat("(?=", sides[i].pattern(), ")");
    both += sides.back().pattern();
    return negated ? cat("(?:(?!", both, ")(?s:.))") : cat("(?:", both, ")");
  }

  void add_member(Members& members, Flags flags) {
    const std::size_t begin = at_;
    if (next_is("[:")) return add_item(members, posix(), flags, begin);
    if (take("[")) {
      members.others.push_back(char_class(flags, begin));
      refuse_range(begin);
      return;
    }
    const Item item = class_item();
    if (!item.members.empty()) return add_item(members, item, flags, begin);
    char32_t last = item.code;
    if (next_is("-") && !next_is("-]")) {
      take("-");
      if (at_end() || next_is("[") || next_is("&&")) unsupported("a range without end", begin);
      const Item end = class_item();
      if (!end.members.empty() || end.code < item.code) {
        unsupported(cat("the range ", pattern_.substr(begin, at_ - begin)), begin);
      }
      last = end.code;
      refuse_range(begin);
    }
    if (flags.ignore_case && last >= 0x80) unsupported("a character beyond ASCII under (?i)", begin);
    members.inside += hex_escape(item.code);
    if (last > item.code) members.inside += cat("-", hex_escape(last));
  }

  Item class_item() {
    const std::size_t begin = at_;
    return take("\\") ? escape(begin, true) : character(take_character());
  }

  void add_item(Members& members, const Item& item, Flags flags, std::size_t begin) {
    std::string inside = item.members;
    if (flags.ignore_case) {
      // In brackets a set grows by the other cases of its characters: U+0345 is a case of a letter and a mark.
      const bool letters = inside == "\\p{L}" && !item.negated;
      if (letters) inside += "\\x{345}";
      const bool caseless = inside == kWhiteSpace || inside == kDigit || inside == kHexDigit || inside == "\\p{N}" ||
                            inside == "\\p{P}" || inside == "\\p{S}" || inside == "\\p{Z}";
      if (!letters && !caseless) unsupported("a set with cases in [ ] under (?i)", begin);
    }
    if (!item.negated) {
      members.inside += inside;
    } else if (inside.starts_with("\\p{") && inside.find('}') + 1 == inside.size()) {
      members.inside += cat("\\P", inside.substr(2));
    } else {
      members.others.push_back(cat("[^", inside, "]"));
    }
    refuse_range(begin);
  }

  // Behind a set or a range only the last "-" is a character.
  void refuse_range(std::size_t begin) const {
    if (next_is("-") && !next_is("-]")) unsupported("a range from a set", begin);
  }

  int depth_ = 0;
  char last_letter_ = 0;  // under (?i), the one just before
};

}  // namespace

std::string oniguruma_to_pcre2(std::string_view pattern) {
  return Translator(pattern).run();
}

}  // namespace wt
