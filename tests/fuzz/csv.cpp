#include "data/csv.h"

#include "tests/fuzz/target.h"

// A table of results; its fields written again read as the same table.
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wt;
  return fuzz::only_errors([&] {
    const CsvTable table = parse_csv(fuzz::text_of(data, size), "fuzz");
    fuzz::only_errors([&] { static_cast<void>(table.column("target")); });
    const auto line = [](const CsvRow& row) {
      std::string text;
      for (std::size_t i = 0; i < row.fields.size(); ++i) text += (i > 0 ? "," : "") + csv_field(row.fields[i]);
      return text + "\n";
    };
    std::string written = line(table.header);
    for (const CsvRow& row : table.rows) written += line(row);
    // A row whose one field is empty is written as an empty line, which is no row.
    if (table.header.fields.size() > 1 && parse_csv(written, "written").rows.size() != table.rows.size()) {
      __builtin_trap();
    }
  });
}
