// Python's str: what its methods do, on UTF-8. Bytes that belong to no valid character count as one each and are kept.
// Upper and lower case are glibc's, one character for one ("ß" stays).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wt::jinja {

// Characters; a byte that is no part of one is 0xDC00 + byte, and goes back to that byte.
std::u32string decoded(std::string_view text);
std::string encoded(std::u32string_view text);
std::size_t length(std::string_view text);

bool is_space(char32_t c);      // as str.isspace() has it
bool is_printable(char32_t c);  // stands for itself in repr(); unassigned characters are taken for printable
bool is_letter(char32_t c);
std::string escaped(char32_t c);  // "\x1b", "\u2028"

char32_t to_upper(char32_t c);
char32_t to_lower(char32_t c);
std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);
std::string title(std::string_view text);         // str.title(): every run of letters
std::string filter_title(std::string_view text);  // Jinja's: behind blanks, "-" and opening brackets

// `chars`: the characters taken away; blanks where it is null.
std::string strip(std::string_view text, const std::string* chars, bool left, bool right);
// `limit`: cuts at most, -1 for all. Without a separator at runs of blanks. `separator` must not be empty.
std::vector<std::string> split(std::string_view text, const std::string* separator, std::int64_t limit);
std::vector<std::string> rsplit(std::string_view text, const std::string* separator, std::int64_t limit);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);
// Bytes that replace() would make, and the text itself; an empty `from` stands before every character and at the end.
std::size_t replaced_size(std::string_view text, std::string_view from, std::string_view to, std::int64_t limit);
std::string replace(std::string_view text, std::string_view from, std::string_view to, std::int64_t limit);
std::int64_t count(std::string_view text, std::string_view part);
std::string escape_html(std::string_view text);

}  // namespace wt::jinja
