#include "data/jinja/text.h"

#include <algorithm>
#include <cwctype>
#include <locale>

#include "core/error.h"
#include "core/utf8.h"

namespace wt::jinja {
namespace {

constexpr char32_t kByte = 0xDC00;  // + a byte of no character

locale_t letters() {
  static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return locale;
}

// The character at `at`, and its bytes.
char32_t character(std::string_view text, std::size_t at, std::size_t& bytes) {
  bytes = utf8_length_at(text, at);
  if (bytes > 0) return utf8_at(text, at);
  bytes = 1;
  return kByte + static_cast<unsigned char>(text[at]);
}

bool has_case(char32_t c) {
  return to_upper(c) != c || to_lower(c) != c;
}

template <class Change>
std::string changed(std::string_view text, const Change& change) {
  std::u32string characters = decoded(text);
  change(characters);
  return encoded(characters);
}

bool is_in(char32_t c, const std::u32string* set) {
  return set == nullptr ? is_space(c) : set->find(c) != std::u32string::npos;
}

}  // namespace

std::u32string decoded(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0, bytes = 0; i < text.size(); i += bytes) out += character(text, i, bytes);
  return out;
}

std::string encoded(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    if (c >= kByte && c < kByte + 256) {
      out += static_cast<char>(c - kByte);
    } else {
      append_utf8(out, c);
    }
  }
  return out;
}

std::size_t length(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t i = 0, bytes = 0; i < text.size(); i += bytes, ++count) character(text, i, bytes);
  return count;
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_printable(char32_t c) {
  if (c == U' ') return true;
  if (c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD || is_space(c)) return false;
  const bool format = c == 0x061C || c == 0x180E || (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
                      (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF0 && c <= 0xFFFB);
  const bool is_private = (c >= 0xD800 && c <= 0xF8FF) || c >= 0xE0000;
  return !format && !is_private;
}

bool is_letter(char32_t c) {
  return iswalpha_l(static_cast<wint_t>(c), letters()) != 0;
}

std::string escaped(char32_t c) {
  constexpr const char* kDigits = "0123456789abcdef";
  const int digits = c < 0x100 ? 2 : c < 0x10000 ? 4 : 8;
  std::string out = digits == 2 ? "\\x" : digits == 4 ? "\\u" : "\\U";
  for (int i = digits - 1; i >= 0; --i) out += kDigits[(c >> (4 * i)) & 15u];
  return out;
}

char32_t to_upper(char32_t c) {
  if (c < 0x80) return c >= U'a' && c <= U'z' ? c - 32 : c;
  return static_cast<char32_t>(towupper_l(static_cast<wint_t>(c), letters()));
}

char32_t to_lower(char32_t c) {
  if (c < 0x80) return c >= U'A' && c <= U'Z' ? c + 32 : c;
  return static_cast<char32_t>(towlower_l(static_cast<wint_t>(c), letters()));
}

std::string upper(std::string_view text) {
  return changed(text, [](std::u32string& all) { std::transform(all.begin(), all.end(), all.begin(), to_upper); });
}

std::string lower(std::string_view text) {
  return changed(text, [](std::u32string& all) { std::transform(all.begin(), all.end(), all.begin(), to_lower); });
}

std::string capitalize(std::string_view text) {
  return changed(text, [](std::u32string& all) {
    std::transform(all.begin(), all.end(), all.begin(), to_lower);
    if (!all.empty()) all[0] = to_upper(all[0]);
  });
}

std::string title(std::string_view text) {
  return changed(text, [](std::u32string& all) {
    bool inside = false;
    for (char32_t& c : all) {
      c = inside ? to_lower(c) : to_upper(c);
      inside = has_case(c);
    }
  });
}

std::string filter_title(std::string_view text) {
  return changed(text, [](std::u32string& all) {
    bool begins = true;
    for (char32_t& c : all) {
      c = begins ? to_upper(c) : to_lower(c);
      begins = is_space(c) || c == U'-' || c == U'(' || c == U'{' || c == U'[' || c == U'<';
    }
  });
}

std::string strip(std::string_view text, const std::string* chars, bool left, bool right) {
  const std::u32string set = chars == nullptr ? U"" : decoded(*chars);
  const std::u32string* wanted = chars == nullptr ? nullptr : &set;
  std::size_t begin = 0, end = 0;  // `end`: behind the last character that stays
  bool started = !left;
  for (std::size_t i = 0, bytes = 0; i < text.size(); i += bytes) {
    if (is_in(character(text, i, bytes), wanted)) continue;
    if (!started) begin = i;
    started = true;
    end = i + bytes;
  }
  if (!right && started) end = text.size();
  return begin < end ? std::string(text.substr(begin, end - begin)) : "";
}

std::vector<std::string> split(std::string_view text, const std::string* separator, std::int64_t limit) {
  std::vector<std::string> out;
  if (separator != nullptr) {
    std::size_t from = 0;
    for (; limit != 0; --limit) {
      const std::size_t at = text.find(*separator, from);
      if (at == std::string_view::npos) break;
      out.emplace_back(text.substr(from, at - from));
      from = at + separator->size();
    }
    out.emplace_back(text.substr(from));
    return out;
  }
  for (std::size_t i = 0, bytes = 0; i < text.size();) {
    if (is_space(character(text, i, bytes))) {
      i += bytes;
      continue;
    }
    if (limit-- == 0) {
      out.emplace_back(text.substr(i));
      break;
    }
    const std::size_t from = i;
    while (i < text.size() && !is_space(character(text, i, bytes))) i += bytes;
    out.emplace_back(text.substr(from, i - from));
  }
  return out;
}

std::vector<std::string> rsplit(std::string_view text, const std::string* separator, std::int64_t limit) {
  std::vector<std::string> out;
  if (separator != nullptr) {
    for (; limit != 0; --limit) {
      const std::size_t at = text.rfind(*separator);
      if (at == std::string_view::npos) break;
      out.emplace_back(text.substr(at + separator->size()));
      text = text.substr(0, at);
    }
    out.emplace_back(text);
    std::reverse(out.begin(), out.end());
    return out;
  }
  // From the end; what is left over in front keeps its blanks but for those at the cut.
  const std::u32string all = decoded(text);
  for (std::size_t end = all.size();;) {
    while (end > 0 && is_space(all[end - 1])) --end;
    if (end == 0) break;
    std::size_t begin = limit-- == 0 ? 0 : end;
    while (begin > 0 && !is_space(all[begin - 1])) --begin;
    out.push_back(encoded(std::u32string_view(all).substr(begin, end - begin)));
    end = begin;
  }
  std::reverse(out.begin(), out.end());
  return out;
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string> out;
  std::size_t from = 0;
  for (std::size_t i = 0, bytes = 0; i < text.size();) {
    const char32_t c = character(text, i, bytes);
    const bool ends = (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (!ends) {
      i += bytes;
      continue;
    }
    if (c == U'\r' && i + 1 < text.size() && text[i + 1] == '\n') bytes = 2;
    out.emplace_back(text.substr(from, i - from + (keep_ends ? bytes : 0)));
    i += bytes;
    from = i;
  }
  if (from < text.size()) out.emplace_back(text.substr(from));
  return out;
}

std::size_t replaced_size(std::string_view text, std::string_view from, std::string_view to, std::int64_t limit) {
  std::size_t found = from.empty() ? length(text) + 1 : static_cast<std::size_t>(count(text, from));
  if (limit >= 0) found = std::min(found, static_cast<std::size_t>(limit));
  return text.size() + found * to.size();
}

std::string replace(std::string_view text, std::string_view from, std::string_view to, std::int64_t limit) {
  std::string out;
  std::size_t i = 0;
  while (limit != 0 && i <= text.size()) {
    const std::size_t at = from.empty() ? i : text.find(from, i);
    if (at == std::string_view::npos) break;
    out += text.substr(i, at - i);
    out += to;
    i = at + from.size();
    --limit;
    if (!from.empty()) continue;
    if (i == text.size()) return out;
    std::size_t bytes = 0;
    character(text, i, bytes);
    out += text.substr(i, bytes);
    i += bytes;
  }
  if (i < text.size()) out += text.substr(i);
  return out;
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::int64_t count(std::string_view text, std::string_view part) {
  if (part.empty()) return static_cast<std::int64_t>(length(text)) + 1;
  std::int64_t found = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

}  // namespace wt::jinja
