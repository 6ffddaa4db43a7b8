// Comma-separated values, read as pandas' read_csv() does (its tokenizer in C, pandas/_libs/src/parser/tokenizer.c): a
// field that begins with a quote may hold commas, line breaks and doubled quotes, what stands behind its closing quote
// belongs to it, and a quote inside a field that does not begin with one stands for itself. Lines end with LF, CR LF or
// CR; those of blanks alone are passed over, and so is a byte order mark. A row that is too short has empty fields at
// its end; where the first row has more fields than there are names, so many at its beginning are an index without a
// name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wt {

struct CsvRow {
  std::int64_t line = 0;  // where the row starts, from 1
  std::vector<std::string> fields;
  std::size_t given = 0;  // fields that the row has itself; the others are empty
};

// A file whose first row names the columns; every row has as many fields as there are names.
struct CsvTable {
  std::string name;  // for errors: the path
  CsvRow header;
  std::vector<CsvRow> rows;

  // The index of a column. Throws Error that names the columns there are, or the nearest.
  std::size_t column(std::string_view wanted) const;
};

// Throws Error "path:line: what is wrong": a quote that is never closed (with the line it was opened in), a row that is
// longer than the first, an empty file, UTF-16. Of columns of one name, the first is it.
CsvTable read_csv(const std::string& path);
CsvTable parse_csv(std::string_view text, const std::string& name);

// The field as it is written: in quotes where it holds a comma, a quote or a line break (as Python's csv module and
// pandas write it), and in UTF-8: what is none is replaced (utf8_repaired()).
std::string csv_field(std::string_view text);

}  // namespace wt
