// The sets of characters that Oniguruma has names for, as PCRE2 writes them inside brackets.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace wt {

inline constexpr const char* kWhiteSpace = R"(\t-\r\x{85}\p{Z})";  // PCRE2's \s has U+180E as well
inline constexpr const char* kDigit = R"(\p{Nd})";
inline constexpr const char* kHexDigit = "0-9A-Fa-f";
inline constexpr const char* kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
// \w outside brackets, and \p{Word}: of the first 256 characters these superscripts and fractions too.
inline constexpr const char* kWordAlone = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})";

// Of \p{name}: general categories, scripts, and some more; nullopt for a name that is not among them.
std::optional<std::string> property_members(std::string_view name);
// Of [:name:].
std::optional<std::string> posix_members(std::string_view name);

}  // namespace wt
