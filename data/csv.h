// Comma-separated values as RFC 4180 has them. A field in quotes may hold commas, line breaks and doubled quotes. Read
// too: lines that end with LF or CR alone, a byte order mark, a last line without its end. Blank lines are passed over.
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
};

// A file whose first row names the columns; every row has as many fields as there are names.
struct CsvTable {
  std::string name;  // for errors: the path
  CsvRow header;
  std::vector<CsvRow> rows;

  // The index of a column. Throws Error that names the columns there are, or the nearest.
  std::size_t column(std::string_view wanted) const;
};

// Throws Error "path:line: what is wrong": a quote that is never closed (with the line it was opened in), text behind a
// closing quote, a quote inside a field without quotes, a row of another length, a column named twice, an empty file,
// UTF-16.
CsvTable read_csv(const std::string& path);
CsvTable parse_csv(std::string_view text, const std::string& name);

// The field as it is written: in quotes where it holds a comma, a quote or a line break (as Python's csv module and
// pandas write it).
std::string csv_field(std::string_view text);

}  // namespace wt
