#include "data/csv.h"

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"
#include "core/utf8.h"

namespace wt {
namespace {

class CsvParser {
 public:
  CsvParser(std::string_view text, const std::string& name) : text_(text), name_(name) {
    if (text_.starts_with("\xEF\xBB\xBF")) text_.remove_prefix(3);
    if (text_.starts_with("\xFF\xFE") || text_.starts_with("\xFE\xFF")) fail(1, "is UTF-16 text, expected UTF-8");
  }

  CsvTable run() {
    CsvTable table;
    table.name = name_;
    std::size_t index = 0;  // fields before the first column that has a name
    while (skip_blank_lines()) {
      CsvRow row = read_row();
      const std::size_t names = table.header.fields.size();
      if (table.header.line == 0) {
        table.header = std::move(row);
        continue;
      }
      if (table.rows.empty() && row.fields.size() > names) index = row.fields.size() - names;
      if (row.fields.size() > index + names) {
        fail(row.line, cat("a row of ", row.fields.size(), " fields, the ", index > 0 ? "first" : "header", " has ",
                           index + names));
      }
      row.given = std::max(row.fields.size(), index) - index;
      row.fields.resize(index + names);
      row.fields.erase(row.fields.begin(), row.fields.begin() + static_cast<std::ptrdiff_t>(index));
      table.rows.push_back(std::move(row));
    }
    if (table.header.line == 0) fail(1, "the file is empty, expected a row of column names");
    return table;
  }

 private:
  [[noreturn]] void fail(std::int64_t line, const std::string& what) const {
    throw Error(cat(name_, ":", line, ": ", what));
  }

  // Passes over LF, CR LF or CR, if one is next.
  bool skip_line_end() {
    if (at_ >= text_.size() || (text_[at_] != '\n' && text_[at_] != '\r')) return false;
    at_ += text_.substr(at_).starts_with("\r\n") ? 2 : 1;
    ++line_;
    return true;
  }

  // False at the end of the text.
  bool skip_blank_lines() {
    while (at_ < text_.size()) {
      const std::size_t end = std::min(text_.find_first_not_of(" \t", at_), text_.size());
      if (end < text_.size() && text_[end] != '\n' && text_[end] != '\r') return true;
      at_ = end;
      skip_line_end();
    }
    return false;
  }

  CsvRow read_row() {
    CsvRow row;
    row.line = line_;
    while (true) {
      std::string field;
      if (at_ < text_.size() && text_[at_] == '"') field = quoted_part();
      const std::size_t end = std::min(text_.find_first_of(",\r\n", at_), text_.size());
      field += text_.substr(at_, end - at_);
      at_ = end;
      row.fields.push_back(std::move(field));
      if (at_ >= text_.size() || skip_line_end()) return row;
      ++at_;  // the comma
    }
  }

  // From the quote that opens a field to the one that closes it.
  std::string quoted_part() {
    const std::int64_t opened = line_;
    std::string field;
    ++at_;
    while (true) {
      const std::size_t quote = text_.find('"', at_);
      if (quote == std::string_view::npos) fail(opened, "a quote is opened here and never closed");
      const std::string_view part = text_.substr(at_, quote - at_);
      count_lines(part);
      field += part;
      at_ = quote + 1;
      if (at_ >= text_.size() || text_[at_] != '"') return field;
      field += '"';
      ++at_;
    }
  }

  void count_lines(std::string_view part) {
    for (std::size_t i = 0; i < part.size(); ++i) {
      const bool first_of_two = part[i] == '\r' && i + 1 < part.size() && part[i + 1] == '\n';
      if ((part[i] == '\n' || part[i] == '\r') && !first_of_two) ++line_;
    }
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
  std::int64_t line_ = 1;
};

}  // namespace

std::size_t CsvTable::column(std::string_view wanted) const {
  const auto found = std::find(header.fields.begin(), header.fields.end(), wanted);
  if (found != header.fields.end()) return static_cast<std::size_t>(found - header.fields.begin());
  std::string names;
  for (const std::string& field : header.fields) names += cat(names.empty() ? "\"" : ", \"", field, "\"");
  const std::string hint = did_you_mean(wanted, header.fields);
  throw Error(
      cat(name, ":", header.line, ": no column \"", wanted, "\"", hint.empty() ? cat("; there are ", names) : hint));
}

CsvTable parse_csv(std::string_view text, const std::string& name) {
  return CsvParser(text, name).run();
}

CsvTable read_csv(const std::string& path) {
  return parse_csv(read_file(path), path);
}

std::string csv_field(std::string_view text) {
  const std::string valid = utf8_repaired(text);
  if (valid.find_first_of(",\"\r\n") == std::string::npos) return valid;
  std::string out = "\"";
  for (const char c : valid) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

}  // namespace wt
