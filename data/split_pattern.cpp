#include "data/split_pattern.h"

#include <pcre2.h>

#include <utility>

#include "core/error.h"
#include "core/utf8.h"

namespace wt {

const char* const kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const char* const kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

std::string pcre2_message(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

// \s and \S spelled out as Unicode's white space. PCRE2's own \s has U+180E as well, which is none since Unicode 6.3.
std::string spell_out_white_space(const std::string& pattern) {
  const std::string members = R"(\t-\r\x{85}\p{Z})";
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char next = pattern[++i];
      if (next == 's') {
        out += in_class ? members : "[" + members + "]";
      } else if (next == 'S' && !in_class) {
        out += "[^" + members + "]";
      } else {
        out += c;
        out += next;
      }
      continue;
    }
    if (c == '[' && !in_class) {
      in_class = true;
      out += c;
      // A "]" that comes first, or right behind the "^", is a member and not the end.
      if (i + 1 < pattern.size() && pattern[i + 1] == '^') out += pattern[++i];
      if (i + 1 < pattern.size() && pattern[i + 1] == ']') out += pattern[++i];
      continue;
    }
    if (c == ']' && in_class) in_class = false;
    out += c;
  }
  return out;
}

}  // namespace

SplitPattern::SplitPattern(std::string pattern) : pattern_(std::move(pattern)) {
  const std::string spelled = spell_out_white_space(pattern_);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(spelled.data()), spelled.size(), PCRE2_UTF | PCRE2_UCP,
                                   &error, &offset, nullptr);
  if (code == nullptr) {
    throw Error(
        cat("split pattern `", pattern_, "`: ", pcre2_message(error), " at character ", offset, " of `", spelled, "`"));
  }
  code_ = std::shared_ptr<const void>(
      code, [](const void* p) { pcre2_code_free(const_cast<pcre2_code*>(static_cast<const pcre2_code*>(p))); });
  // Without a JIT for this machine the pattern is interpreted: slower, with the same result.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
}

void SplitPattern::split(std::string_view text, const std::function<void(std::string_view piece)>& visit) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  const std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> match(
      pcre2_match_data_create_from_pattern(code, nullptr), &pcre2_match_data_free);
  WT_CHECK(match != nullptr, "split pattern: out of memory");
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match.get());
  const auto visit_piece = [&](std::size_t begin, std::size_t end) {
    if (end > begin) visit(text.substr(begin, end - begin));
  };
  std::size_t done = 0;  // everything before this was visited
  std::size_t from = 0;  // where the next search starts
  while (from < text.size()) {
    const int result = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                   PCRE2_NO_UTF_CHECK, match.get(), nullptr);
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0) {
      throw Error(cat("split pattern `", pattern_, "`: ", pcre2_message(result), " at byte ", from, " of a text of ",
                      text.size(), " bytes"));
    }
    const std::size_t begin = bounds[0], end = bounds[1];
    WT_CHECK(begin >= done && end >= begin, "split pattern `", pattern_, "`: a match outside its text");
    visit_piece(done, begin);
    visit_piece(begin, end);
    done = end;
    // An empty match cuts the text and matches nothing: go on one character further.
    from = end > begin ? end : end + (end < text.size() ? utf8_length_at(text, end) : 1);
  }
  visit_piece(done, text.size());
}

}  // namespace wt
