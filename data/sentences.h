// Cuts English prose into sentences, by plain rules.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace wt {

// The sentences of a text in order, each without surrounding white space and with every run of white space inside it
// (line ends of wrapped lines too) made one blank. Nothing else is dropped: all other characters stand in exactly one
// sentence.
//
// - Blank lines end paragraphs. A paragraph that is a heading ("CHAPTER IV", "PART TWO. The River") is one sentence; a
//   heading on the line before the text is one too.
// - A sentence ends at `.`, `!`, `?` or an ellipsis, with the quotes and brackets that close behind it, where white
// space
//   follows and then no lower-case letter.
// - It does not end after a title or abbreviation (Mr. Mrs. Dr. St. ...), after single initials (J. R. Smith), or
// inside
//   a number (3.14).
std::vector<std::string> split_sentences(std::string_view text);

// Nothing but white space.
bool is_blank_text(std::string_view text);

// Where a text can be cut so that a sentence ends there: behind the white space after the last one whose end is
// certain, judged by a kilobyte around it. 0 where none is found.
std::size_t last_sentence_cut(std::string_view text);

}  // namespace wt
