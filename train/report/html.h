// A self-contained page: text made safe, tables, and the frame with its style sheet. What comes out is HTML and
// well-formed XML at once, so that any reader can check it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace wt {

// xml_escaped() (train/report/svg.h) that keeps line breaks and tabs.
std::string html_escaped(std::string_view text);

struct HtmlCell {
  std::string text;      // escaped when it is written
  std::string sort_key;  // a number that the column is sorted by; none: by the text
  std::string style;     // CSS of this cell
  std::string tooltip;
  std::string before;  // markup in front of the text: the key of a run
};
HtmlCell text_cell(const std::string& text);
HtmlCell number_cell(const std::string& text, double value);  // sorted by the value, whatever the text

// A table that is sorted by a click on a column's name, where scripts are allowed; each row has a cell for each column.
class HtmlTable {
 public:
  // Columns from `first_number` on are figures: set to the right.
  HtmlTable(std::vector<std::string> columns, std::size_t first_number);
  // Throws Error where the number of cells is not that of the columns.
  void add_row(std::vector<HtmlCell> cells);
  bool is_empty() const { return rows_.empty(); }
  std::string str() const;

 private:
  std::vector<std::string> columns_;
  std::size_t first_number_;
  std::vector<std::vector<HtmlCell>> rows_;
};

// The page around a body: follows the reader's light or dark theme, fits phones, prints in black on white, and loads
// nothing (its content security policy forbids it to).
std::string html_page(const std::string& title, const std::string& body);

}  // namespace wt
