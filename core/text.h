// Small help with words in messages.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace wt {

// A message as one line for a terminal, whatever a library or a damaged file put into it: no line breaks and control
// characters, well-formed UTF-8, and of a very long one beginning and end.
std::string printable_line(std::string_view message);

// The text without blanks, tabs and line breaks around it.
std::string_view trimmed(std::string_view text);

// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
int edit_distance(std::string_view a, std::string_view b);

// The candidate closest to `word`, or "" where none is close enough to be a likely slip (a third of the word's length).
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

// ", did you mean hidden_size?" or "" where nothing is near.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace wt
