#include "data/csv.h"

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "core/text.h"

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
    while (at_ < text_.size()) {
      if (skip_line_end()) continue;  // a blank line
      CsvRow row = read_row();
      if (table.header.line == 0) {
        check_header(row);
        table.header = std::move(row);
        continue;
      }
      if (row.fields.size() != table.header.fields.size()) {
        fail(row.line, cat("a row of ", row.fields.size(), row.fields.size() == 1 ? " field" : " fields",
                           ", the header has ", table.header.fields.size()));
      }
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

  CsvRow read_row() {
    CsvRow row;
    row.line = line_;
    while (true) {
      row.fields.push_back(at_ < text_.size() && text_[at_] == '"' ? quoted_field() : plain_field());
      if (at_ >= text_.size() || skip_line_end()) return row;
      ++at_;  // the comma
    }
  }

  std::string plain_field() {
    const std::size_t end = std::min(text_.find_first_of(",\r\n\"", at_), text_.size());
    if (end < text_.size() && text_[end] == '"') {
      fail(line_, "a quote inside a field that does not start with one: write the field in quotes and the quote twice");
    }
    std::string field(text_.substr(at_, end - at_));
    at_ = end;
    return field;
  }

  std::string quoted_field() {
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
      if (at_ >= text_.size() || text_[at_] != '"') break;
      field += '"';
      ++at_;
    }
    if (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '\n' && text_[at_] != '\r') {
      fail(line_, cat("`", text_[at_], "` behind a closing quote, expected a comma or the end of the line"));
    }
    return field;
  }

  void count_lines(std::string_view part) {
    for (std::size_t i = 0; i < part.size(); ++i) {
      const bool first_of_two = part[i] == '\r' && i + 1 < part.size() && part[i + 1] == '\n';
      if ((part[i] == '\n' || part[i] == '\r') && !first_of_two) ++line_;
    }
  }

  void check_header(const CsvRow& row) const {
    for (std::size_t i = 0; i < row.fields.size(); ++i) {
      if (std::find(row.fields.begin(), row.fields.begin() + static_cast<std::ptrdiff_t>(i), row.fields[i]) !=
          row.fields.begin() + static_cast<std::ptrdiff_t>(i)) {
        fail(row.line, cat("two columns are named \"", row.fields[i], "\""));
      }
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
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

}  // namespace wt
