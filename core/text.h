// Small help with text: words in messages, lines of files.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace wt {

// A message as one line for a terminal, whatever a library or a damaged file put into it: no line breaks and control
// characters, well-formed UTF-8, and of a very long one beginning and end.
std::string printable_line(std::string_view message);

// The text without blanks, tabs and line breaks around it.
std::string_view trimmed(std::string_view text);

// Visits the lines that are not blank, in order and without the blanks around them; `number` counts all of them from 1.
void each_line(std::string_view text, const std::function<void(std::string_view line, std::int64_t number)>& visit);

// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
int edit_distance(std::string_view a, std::string_view b);

// The candidate closest to `word`, or "" where none is close enough to be a likely slip (a third of the word's length).
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

// ", did you mean hidden_size?" or "" where nothing is near.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace wt
