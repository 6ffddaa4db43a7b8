#include "data/token_text.h"

#include <charconv>

#include "core/error.h"
#include "core/utf8.h"

namespace wt {
namespace {

// No text grows beyond this when a file's steps rewrite it. Steps behind each other could double it each time.
std::size_t longest(std::string_view text) {
  return 64 * text.size() + 1024;
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to, std::size_t most) {
  WT_CHECK(!from.empty(), "tokenizer: a step that replaces nothing");
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = text.find(from); at != std::string_view::npos; at = text.find(from, done)) {
    out.append(text.substr(done, at - done)).append(to);
    done = at + from.size();
    WT_CHECK(out.size() <= most, "tokenizer: its Replace steps make more than ", most, " bytes of one text");
  }
  return out.append(text.substr(done));
}

// The byte of "<0x0A>", or -1.
int byte_of(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return -1;
  int value = 0;
  const char* const end = token.data() + 5;
  const auto [next, error] = std::from_chars(token.data() + 3, end, value, 16);
  return error == std::errc() && next == end && value >= 0 ? value : -1;
}

}  // namespace

std::array<char32_t, 256> byte_characters() {
  std::array<char32_t, 256> table{};
  char32_t next = 0x100;
  for (char32_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    table[b] = printable ? b : next++;
  }
  return table;
}

std::string apply_steps(const std::vector<TextStep>& steps, std::string_view text, bool first,
                        bool leading_space_is_prefix) {
  std::string out(text);
  for (const TextStep& step : steps) {
    switch (step.kind) {
      case TextStep::Kind::kPrepend:
        if (!out.empty() && !(leading_space_is_prefix && text.front() == ' ')) out.insert(0, step.to);
        break;
      case TextStep::Kind::kReplace:
        out = replaced(out, step.from, step.to, longest(text));
        break;
      case TextStep::Kind::kPrefix:
        if (!out.empty() && !out.starts_with(step.to)) out.insert(0, step.to);
        break;
      case TextStep::Kind::kPrefixFirst:
        if (first && !out.empty() && !out.starts_with(step.to)) out.insert(0, step.to);
        break;
    }
  }
  return out;
}

TokenText::TokenText(const Decoding& decoding) : decoding_(decoding) {
  bytes_.fill(-1);
  const std::array<char32_t, 256> characters = byte_characters();
  for (std::size_t b = 0; b < 256; ++b) bytes_[characters[b]] = static_cast<std::int16_t>(b);
}

std::string TokenText::bytes_of(const std::string& token) const {
  if (!decoding_.byte_level) return bytes_of_added(token);
  std::string out;
  out.reserve(token.size());
  for (std::size_t i = 0; i < token.size();) {
    const std::size_t length = utf8_length_at(token, i);
    const char32_t character = length > 0 ? utf8_at(token, i) : kByteCharacters;
    // A character outside the table: not spelled in bytes, so it stands for itself.
    if (character >= kByteCharacters || bytes_[character] < 0) return token;
    out += static_cast<char>(bytes_[character]);
    i += length;
  }
  return out;
}

bool TokenText::spells_bytes(const std::string& token) const {
  for (std::size_t i = 0; i < token.size(); i += utf8_length_at(token, i)) {
    const char32_t character = utf8_length_at(token, i) > 0 ? utf8_at(token, i) : kByteCharacters;
    if (character >= kByteCharacters || bytes_[character] < 0) return false;
  }
  return true;
}

std::string TokenText::bytes_of_added(const std::string& token) const {
  if (decoding_.byte_level) return token;
  if (decoding_.byte_tokens) {
    if (const int byte = byte_of(token); byte >= 0) return std::string(1, static_cast<char>(byte));
  }
  std::string out = token;
  for (const auto& [from, to] : decoding_.replacements) out = replaced(out, from, to, longest(token));
  return out;
}

void strip_ends(const Decoding& decoding, std::string& text) {
  const std::string& strip = decoding.strip;
  if (strip.empty()) return;
  for (int i = 0; i < decoding.strip_start && text.starts_with(strip); ++i) text.erase(0, strip.size());
  for (int i = 0; i < decoding.strip_stop && text.ends_with(strip); ++i) text.resize(text.size() - strip.size());
}

}  // namespace wt
